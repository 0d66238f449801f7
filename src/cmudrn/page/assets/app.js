// The page: photos come in, each has a tile, the one on show is compared with its original. What
// restores them is a backend: a server, or this browser.
import * as backend from "./backend.js";

const byId = (id) => document.getElementById(id);
const [drop, files, problem, work, stage] = ["drop", "files", "problem", "work", "stage"].map(byId);
const [before, after, split, strength, speed, choices] =
  ["before", "after", "split", "strength", "speed", "model-choice"].map(byId);

const VIEW_NAMES = { restored: "Restored", removed: "What was removed" }; // then every task's
const SPEED_NAMES = ["Quick", "Medium", "Full"];

const items = []; // one per photo, in the order they came
let current = null;
let offer = null; // models and limits
let view = "restored";
let running = null; // the photo being restored, and how to stop it

// --- what the backend offers ---------------------------------------------------------------

async function greet() {
  byId("promise").textContent = backend.PROMISE;
  byId("formats").textContent = backend.FORMATS;
  files.accept = backend.ACCEPT;
  byId("api").hidden = !backend.API;
  byId("api").href = backend.API ?? "";
  offer = await backend.about();
  const options = offer.models.map(({ name }) => new Option(name, name));
  choices.replaceChildren(...options);
  choices.value = offer.default;
  byId("model-dial").hidden = offer.models.length < 2;
  describeModel();
  await add(await backend.takeShared());
  pump(); // for photos that came before the offer
}

const theModel = () => offer.models.find((model) => model.name === choices.value);

function describeModel() {
  const model = theModel();
  byId("model").textContent =
    `Model ${model.name}, ${model.parameters.toLocaleString("en")} parameters.`;
  byId("model-line").textContent = model.description;
  byId("speed-dial").hidden = !model.adjustable;
  byId("haze-dial").hidden = !model.dehazes;
}

// The dials as parameters of a request; what the model does by itself is left unsaid.
function dials() {
  const model = theModel();
  const level = Number(speed.value);
  const asked = { model: model.name };
  const { value } = byId("dehaze");
  if (model.dehazes && value) asked.dehaze = value === "true";
  if (!model.adjustable || level === 2) return asked;
  const { stages, recursions } = level === 1 ? model : { stages: 2, recursions: 2 };
  return { ...asked, stages: Math.max(1, stages - 1), recursions: Math.max(1, recursions - 1) };
}

// --- photos coming in ---------------------------------------------------------------------

async function add(list) {
  const photos = [...list].filter((file) => file instanceof File);
  if (!photos.length) return;
  say("");
  for (const file of photos) {
    const item = { file, name: file.name || "pasted.png", state: "waiting", url: null };
    const refusal = refuse(item);
    items.push(item);
    addToStrip(item); // before the wait: an earlier photo's answer draws every tile
    item.shown = await look(item, file);
    if (refusal) fail(item, refusal);
    if (!current || current.state === "failed") select(item);
  }
  draw();
  pump();
}

function refuse({ file }) {
  if (offer && file.size > offer.limits.bytes) {
    const limit = Math.floor(offer.limits.bytes / 2 ** 20);
    return `It is larger than ${limit} MB, the most this page takes.`;
  }
  return file.size ? "" : "It is empty.";
}

// Every photo that cannot be restored keeps its own tile and its own sentence.
function fail(item, sentence) {
  item.state = "failed";
  item.message = sentence;
  say(`${item.name}: ${sentence}`);
}

// Finds out whether the browser can show a photo (it cannot show TIFF), and how large it is.
async function look(item, blob) {
  const url = URL.createObjectURL(blob);
  const image = new Image();
  image.src = url;
  try {
    await image.decode();
    item.url = url;
    item.pixels = image.naturalWidth * image.naturalHeight;
    return true;
  } catch {
    URL.revokeObjectURL(url);
    return false;
  }
}

// --- restoring ----------------------------------------------------------------------------------

// Restores photos one after another, the one on show first.
async function pump() {
  if (running || !offer) return;
  const needs = (item) => item.state === "waiting" || item.state === "stale";
  const item = current && needs(current) ? current : items.find(needs);
  if (!item) return;
  running = { item, stop: new AbortController() };
  item.state = "working";
  draw();
  try {
    await restore(item, running.stop.signal);
    item.state = item.state === "working" ? "done" : item.state;
  } catch (error) {
    const stopped = running.stop.signal.aborted;
    // A photo that was stopped because a dial moved is asked for again.
    if (item.state !== "working") item.message = "";
    else if (stopped) Object.assign(item, { state: "stopped", message: "Stopped." });
    else fail(item, backend.explain(error));
  }
  running = null;
  draw();
  pump();
}

async function restore(item, signal) {
  const started = performance.now();
  const options = { signal, onStatus: status, onProgress: showProgress };
  showProgress(null);
  if (!item.shown && !item.url) {
    const preview = await backend.preview(item.file, options);
    if (preview) await look(item, preview);
  }
  const parameters = { ...dials(), pixels: item.pixels, isShown: item.shown };
  const { views, report, saved } = await backend.restore(item.file, parameters, options);
  forget(item);
  item.report = report;
  item.restored = views.restored;
  item.views = {};
  for (const [name, part] of Object.entries(views)) item.views[name] = URL.createObjectURL(part);
  item.saved = saved ? { 100: saved } : {}; // by strength
  item.seconds = (performance.now() - started) / 1000;
}

function showProgress(part) {
  const bar = byId("progress");
  if (part === null) bar.removeAttribute("value");
  else bar.value = part;
}

function forget(item) {
  Object.values(item.views ?? {}).forEach((url) => URL.revokeObjectURL(url));
  item.views = null;
}

// --- saving -----------------------------------------------------------------------------------

async function save(item) {
  const percent = strength.value;
  if (!item.saved[percent]) {
    status(`Preparing ${item.name} …`);
    const parameters = { ...dials(), strength: percent / 100 };
    const options = { signal: new AbortController().signal, onStatus: status };
    item.saved[percent] = await backend.save(item, parameters, options);
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(item.saved[percent]);
  link.download = savedName(item.name, item.saved[percent].type);
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  status(`Saved ${link.download}.`);
}

// The suffix stays, unless the file has become a PNG.
function savedName(name, type) {
  const isOther = type === "image/png" && !/\.png$/i.test(name);
  return name.replace(/(\.[^.]*)?$/, (suffix) => `.restored${isOther ? ".png" : suffix}`);
}

async function saveAll(list) {
  try {
    for (const item of list) await save(item);
  } catch (error) {
    say(backend.explain(error));
  }
}

// --- showing ------------------------------------------------------------------------------------

function select(item) {
  current = item;
  draw();
  pump();
}

function say(sentence) {
  problem.textContent = sentence;
  problem.hidden = !sentence;
}

const status = (sentence) => (byId("status").textContent = sentence);

function draw() {
  document.body.classList.toggle("started", Boolean(current));
  work.hidden = !current;
  items.forEach(drawThumbnail);
  if (!current) return;
  const busy = current.state === "working" || current.state === "waiting";
  stage.classList.toggle("empty", !current.views);
  stage.classList.toggle("busy", busy);
  show(before, current.url, `The original ${current.name}`);
  drawViews();
  drawAfter();
  byId("progress").hidden = byId("cancel").hidden = !running;
  byId("download").disabled = current.state !== "done";
  const done = items.filter((item) => item.state === "done");
  byId("download-all").hidden = items.length < 2;
  byId("download-all").disabled = !done.length;
  byId("download-all").textContent = `Download all ${done.length}`;
  const notes = current.state === "done" ? (current.report.notes ?? []) : [];
  byId("notes").textContent = notes.join(" ");
  byId("notes").hidden = !notes.length;
  status(describe());
}

function describe() {
  const place = running ? items.indexOf(running.item) + 1 : 0;
  if (running) return `Restoring ${running.item.name} (${place} of ${items.length}) …`;
  if (current.state === "failed") return `${current.name}: ${current.message}`;
  if (current.state !== "done") return current.message ?? "";
  const parts = [`${current.name} in ${current.seconds.toFixed(1)} s.`];
  if (current.report.weather) parts.push(weather(current.report.weather));
  return parts.join(" ");
}

const weather = (scores) =>
  `Weather: ${Object.entries(scores)
    .map(([name, score]) => `${name} ${Math.round(100 * score)} %`)
    .join(", ")}.`;

function show(image, url, alt) {
  image.hidden = !url;
  if (url && image.src !== url) image.src = url;
  image.alt = alt;
}

function drawViews() {
  const offered = current.views ?? { removed: true };
  const names = ["restored", "removed", ...Object.keys(offered)].filter(
    (name, at, all) => all.indexOf(name) === at && (name === "restored" || offered[name]),
  );
  if (!names.includes(view)) view = "restored";
  const choices = byId("views");
  if (choices.dataset.names !== String(names)) {
    choices.dataset.names = names;
    choices.replaceChildren(...names.map(choice));
  }
  for (const input of choices.querySelectorAll("input")) input.checked = input.value === view;
}

function choice(name) {
  const label = document.createElement("label");
  const input = Object.assign(document.createElement("input"), {
    type: "radio", name: "view", value: name,
  });
  input.addEventListener("change", () => ((view = name), drawAfter()));
  label.append(input, nameOf(name));
  return label;
}

const nameOf = (name) => VIEW_NAMES[name] ?? `${name[0].toUpperCase()}${name.slice(1)} removed`;

function drawAfter() {
  const map = view !== "restored";
  const name = nameOf(view);
  show(after, current.views?.[view], map ? `${name}: bright where it was` : name);
  after.classList.toggle("map", map);
  // The strength mixes the restored photo with the original below it, as the server does.
  after.style.opacity = map ? 1 : strength.value / 100;
  byId("after-tag").textContent = name;
  byId("strength-text").textContent = `${strength.value} %`;
  byId("speed-text").textContent = SPEED_NAMES[speed.value];
  speed.setAttribute("aria-valuetext", SPEED_NAMES[speed.value]);
  stage.querySelector(".frame").style.setProperty("--split", `${split.value}%`);
  split.setAttribute("aria-valuetext", `original on the left ${split.value} percent`);
}

function addToStrip(item) {
  const button = Object.assign(document.createElement("button"), { type: "button" });
  const image = Object.assign(document.createElement("img"), { alt: "" });
  const text = document.createElement("span");
  button.append(image, text);
  button.addEventListener("click", () => select(item));
  const entry = document.createElement("li");
  entry.append(button);
  byId("strip").append(entry);
  item.thumbnail = { button, image, text };
}

const MARKS = { done: "✓", failed: "✕", working: "…", waiting: "…", stale: "…", stopped: "–" };
const STATES = { done: "restored", failed: "failed", stopped: "stopped" };

function drawThumbnail(item) {
  const { button, image, text } = item.thumbnail;
  show(image, item.url, "");
  text.textContent = `${MARKS[item.state]} ${item.name}`;
  button.setAttribute("aria-label", `${item.name}, ${STATES[item.state] ?? "waiting"}`);
  button.setAttribute("aria-current", item === current);
  const isBad = item.state === "failed";
  button.classList.toggle("failed", isBad);
  button.title = isBad ? `${item.name}: ${item.message}` : item.name;
}

// --- listening ------------------------------------------------------------------------------------

files.addEventListener("change", () => add(files.files).then(() => (files.value = "")));
document.addEventListener("paste", (event) => add(event.clipboardData.files));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) drop.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  add(event.dataTransfer.files);
});

split.addEventListener("input", drawAfter);
strength.addEventListener("input", drawAfter);
speed.addEventListener("input", drawAfter);
speed.addEventListener("change", restoreAgain);
byId("dehaze").addEventListener("change", restoreAgain);
choices.addEventListener("change", () => (describeModel(), restoreAgain()));

function restoreAgain() {
  for (const item of items) {
    if (["done", "working", "stopped"].includes(item.state)) item.state = "stale";
  }
  running?.stop.abort(new Error("A dial moved."));
  pump();
}

document.addEventListener("photos", ({ detail }) => add(detail));
document.addEventListener("offline-ready", () => {
  byId("offline").textContent = "Works without a network from now on.";
});
byId("actual").addEventListener("change", (event) => {
  stage.classList.toggle("actual", event.target.checked);
});
byId("cancel").addEventListener("click", () => running?.stop.abort(new Error("Stopped.")));
byId("download").addEventListener("click", () => saveAll([current]));
byId("download-all").addEventListener("click", () =>
  saveAll(items.filter((item) => item.state === "done")),
);

greet().catch((error) => say(backend.explain(error)));
