// Keeps the page for use without a network, and takes photos that other programs share with it.
// `cmudrn page` fills in a hash of all files, their names, and the policy of the page.
const VERSION = "";
const FILES = [];
const POLICY = "";

// Other pages of the same host keep their own files.
const OURS = `cmudrn ${registration.scope}`;
const CACHE = `${OURS} ${VERSION}`;
const SHARED = `${OURS} shared`;

addEventListener("install", (event) => {
  event.waitUntil(
    caches.open(CACHE).then((cache) =>
      cache.addAll(FILES.map((file) => new Request(file, { cache: "no-cache" }))),
    ),
  );
});

addEventListener("activate", (event) => {
  event.waitUntil(clean().then(() => clients.claim()));
});

async function clean() {
  for (const name of await caches.keys()) {
    if (name.startsWith(OURS) && ![CACHE, SHARED].includes(name)) await caches.delete(name);
  }
}

addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (url.origin !== location.origin) return;
  const isShare = url.href === new URL("share", registration.scope).href;
  if (event.request.method === "POST" && isShare) event.respondWith(receive(event.request));
  else if (event.request.method === "GET") event.respondWith(answer(event.request));
});

async function answer(request) {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(request, { ignoreSearch: true });
  if (!kept) return fetch(request);
  const headers = new Headers(kept.headers);
  headers.set("Content-Security-Policy", POLICY); // for workers, too, which no meta tag reaches
  return new Response(kept.body, { status: kept.status, headers });
}

// Puts shared photos aside, and opens the page, which takes them.
async function receive(request) {
  const photos = (await request.formData()).getAll("photos");
  const cache = await caches.open(SHARED);
  const now = Date.now();
  for (const [index, photo] of photos.entries()) {
    const headers = {
      "Content-Type": photo.type,
      "File-Name": encodeURIComponent(photo.name),
    };
    await cache.put(`shared/${now}-${index}`, new Response(photo, { headers }));
  }
  return Response.redirect("./?shared", 303);
}
