# ruff: noqa: E501  (the lines of a card are longer)
"""Write the model cards in docs/cards from the model files and the records of their training.

    python tools/make_cards.py           # writes docs/cards/*.md
    python tools/make_cards.py --check   # says whether they are up to date

Figures come from weights.toml, the model files and docs/runs. Only `MODELS` is written by hand: which
runs made a model, and what it is for.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmudrn.engines import open_engine
from cmudrn.models import ShippedModel, shipped_models
from cmudrn.models.credits import training_photographs

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "docs" / "runs"
CARDS = ROOT / "docs" / "cards"
WATTS = 15
"""Assumed power of one core with its share of the machine, in watts."""
CARD_WATTS = 700
"""Assumed power of a graphics card with its share of the machine, in watts."""
ON_A_CARD = {
    "cmudrn-unet-gpu": 2,
    "cmudrn-unet-glare": 2,
    "studies/full-cmudrn-seed0": 3,
    "studies/full-drn-rain-seed0": 3,
    "studies/full-drn-snow-seed0": 3,
}
"""Rounds that a graphics card trained, and how many runs shared it; all others ran on two cores."""


@dataclass(frozen=True)
class Card:
    """What is said of a model by hand.

    Attributes:
        runs: folders of docs/runs, in the order in which they trained it.
        purpose: intended use.
        limits: known harm and failures.
        weights: checkpoint that the model file is made of, below docs/runs; "" is the last run's.
        veil_estimator: checkpoint of the one before the network, likewise; "" is none.
    """

    runs: tuple[str, ...]
    purpose: str
    limits: tuple[str, ...]
    weights: str = ""
    veil_estimator: str = ""


COMPARISON = "Comparisons with the paper. Not for pictures that matter: it damages clear ones."
FULL_RESOLUTION = (
    "It mistakes limbs, lamp posts, railings, letters and joints between cobbles for weather.",
    "Large soft flakes stay as soft blobs.",
)
MODELS = {
    "cmudrn": Card(
        (
            "cmudrn-unet",
            "cmudrn-unet-final",
            "cmudrn-unet-long",
            "cmudrn-unet-third",
            "cmudrn-unet-rest",
            "cmudrn-unet-sharp",
            "cmudrn-unet-paving",
            "cmudrn-unet-gpu",
            "cmudrn-unet-glare",
            "veil",
        ),
        "Photographs, clips and camera streams with rain or falling snow. The default.",
        (
            "Thin pale objects that look like a streak may fade: a lamp post, a garden lamp's globe, a board at "
            "the edge of a roof before a white sky.",
            "Surfaces with fine lines parallel to the rain may lose texture.",
            "Fog, drops on the lens and lying snow stay.",
            "Where it snows or rains it may take mist away that belongs to the scene; --no-dehaze keeps it.",
        ),
        weights="cmudrn-unet-glare/weights.safetensors",
        veil_estimator="veil/weights.safetensors",
    ),
    "cmudrn-25k": Card(
        ("cmudrn-before", "cmudrn", "cmudrn-final"),
        "Comparisons, and machines with very little memory; the default before the present one.",
        FULL_RESOLUTION,
    ),
    "cmudrn-paper": Card(("studies/full-cmudrn-seed0",), COMPARISON, ()),
    "drn-rain": Card(("studies/full-drn-rain-seed0",), COMPARISON, ()),
    "drn-snow": Card(("studies/full-drn-snow-seed0",), COMPARISON, ()),
    "drn-rain-7": Card(("studies/drn-rain-7-seed0",), COMPARISON, ()),
    "drn-snow-7": Card(("studies/drn-snow-7-seed0",), COMPARISON, ()),
}

EVERYWHERE = """\
## Limits and safe use

- A restored picture does not show what weather had covered. What stands there is a guess from the
  surroundings.
- **Evidence.** Do not use a restored picture as evidence of what was hidden. Keep the original.
  [Records](../evidence.md) show how a result was made, not that it is true.
- **Rescue.** Look at the original beside the result. A small or thin object can be lost with the weather, so
  "nothing there" in a restored picture proves nothing.
- **Automatic decisions.** Measure on your own task with and without restoration before you put it in front of
  a detector or a reader of plates.
- **People.** The training photographs come from public collections. How skin, dress or age are distributed in
  them was not measured, so nothing is known about differences between groups of people. The model has no notion
  of a person and does not identify anybody.
"""


def lines_of(run: str) -> list[dict[str, Any]]:
    """Return the lines of a run's metrics."""
    text = (RUNS / run / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def data_of(run: str) -> dict[str, Any]:
    """Return what a run was trained on, of its configuration."""
    text = (RUNS / run / "config.json").read_text(encoding="utf-8")
    data: dict[str, Any] = json.loads(text)["data"]
    return data


def training_table(runs: tuple[str, ...]) -> str:
    """Return the rounds of a model's training as a table, and their processor time."""
    rows, hours, watt_hours = [], 0.0, 0.0
    for run in runs:
        config = json.loads((RUNS / run / "config.json").read_text(encoding="utf-8"))
        last = lines_of(run)[-1]
        data, training = config["data"], config["training"]
        took, where = last.get("seconds"), ", graphics card" if run in ON_A_CARD else ""
        hours += (took or 0) / 3600
        watts = CARD_WATTS / ON_A_CARD[run] if run in ON_A_CARD else 2 * WATTS
        watt_hours += (took or 0) / 3600 * watts
        thumbnails = data.get("view") == "thumbnails"
        size = f"{data['batch']} " + (
            "thumbnails" if thumbnails else f"of {data['patch']} x {data['patch']}"
        )
        rows.append(
            f"| `{run}` | {last['step']:,} | {size} | {training['optimiser']}, "
            f"{training['learning_rate']:g}, {training['schedule']} | "
            f"{'' if took is None else f'{took / 3600:.2f}'}{where} |"
        )
    head = "| round | steps | patches a step | optimiser, rate, schedule | hours |\n|---|---|---|---|---|\n"
    card = (
        f", {CARD_WATTS} W for a graphics card, divided among the runs on it"
        if set(runs) & ON_A_CARD.keys()
        else ""
    )
    energy = (
        f"At an assumed {WATTS} W a core and two cores{card}: {watt_hours:.0f} Wh; not measured.\n"
    )
    return head + "\n".join(rows) + f"\n\n{hours:.1f} hours in all, beside other work. {energy}"


def export_command(model: ShippedModel, card: Card, change_gating_db: float | None) -> str:
    """Return the command that makes a model's file of its checkpoint."""
    options = []
    if card.veil_estimator:
        options.append(f"--veil-estimator docs/runs/{card.veil_estimator}")
    if change_gating_db is not None:
        options.append(f"--change-gating-db {change_gating_db:g}")
    weights = card.weights or f"{card.runs[-1]}/last.safetensors"
    parts = [f"cmudrn export docs/runs/{weights} {model.path.name} --name {model.name}", *options]
    return " \\\n        ".join(parts)


def score_table(model: ShippedModel) -> str:
    """Return the scores of weights.toml as a table."""
    if not model.scores:
        return "Not scored.\n"
    rows = [
        f"| {name} | {s['input_psnr_db']:.2f} | {s['psnr_db']:.2f} | {s['ssim']:.4f} |"
        for name, s in model.scores.items()
    ]
    head = (
        "| set | input, PSNR in dB | restored, PSNR in dB | restored, SSIM |\n|---|---|---|---|\n"
    )
    return head + "\n".join(rows) + "\n\n8-bit RGB; [commands and more](../results/models.md).\n"


def photographs(runs: tuple[str, ...]) -> str:
    """Return the sentences on the training photographs."""
    every = [data_of(run) for run in runs]
    listed = training_photographs()
    if not any(data.get("also_clean") for data in every):
        listed = [x for x in listed if x.file.startswith("train/")]
    sources = [x for data in every for x in data["sources"].values()]
    weathers = sorted({x["weather"] for x in sources if x["weather"]})
    named = sum(bool(x.author) for x in listed)
    return (
        f"{len(listed)} photographs without weather (`cmudrn models --credits`: source and licence of each, "
        f"author of {named}), with weather rendered by this project: {', '.join(weathers)}. "
        "[Data card](data.md).\n"
    )


def model_card(model: ShippedModel, card: Card) -> str:
    """Return a model's card in Markdown."""
    info = open_engine(model.path, "onnx", threads=1).info
    depth = "fixed" if not info.adjustable else f"T = {info.stages}, S = {info.recursions}"
    gating = "no" if info.change_gating_db is None else f"{info.change_gating_db:g} dB"
    limits = "".join(f"- {limit}\n" for limit in card.limits)
    training = "models.md#how-to-train-them"
    if info.network == "cmudrn-unet":
        training = "multi-scale.md#training"
    return f"""\
# Model card: {model.name}

<!-- Made by tools/make_cards.py. -->

{model.description}.

| | |
|---|---|
| for | {card.purpose} |
| network | {info.network}, branches {" and ".join(info.tasks)} |
| parameters | {info.parameters:,} |
| depth | {depth} |
| change gating | {gating} |
| licence of the weights | {model.licence} |
| file | {model.path.name}, {model.path.stat().st_size / 1e6:.1f} MB |
| SHA-256 | `{model.sha256}` |

## Training

{photographs(card.runs)}
{training_table(card.runs)}
The commands of the rounds are in [training](../{training}). This one makes the shipped file again, byte for byte:

    {export_command(model, card, info.change_gating_db)}

## Quality

{score_table(model)}
{EVERYWHERE}{limits}"""


def data_card() -> str:
    """Return the card of the training photographs in Markdown."""
    listed = training_photographs()
    groups: dict[tuple[str, str], int] = {}
    for x in listed:
        key = (x.file.split("/")[0], x.source)
        groups[key] = groups.get(key, 0) + 1
    rows = "\n".join(
        f"| {folder} | {source} | {count} |" for (folder, source), count in sorted(groups.items())
    )
    nature = sum(x.file.startswith("train/") for x in listed)
    return f"""\
# Data card: the training photographs

<!-- Made by tools/make_cards.py. -->

{len(listed)} photographs without weather: {nature} of nature (`train`), {len(listed) - nature} of streets, buildings,
people, vehicles, shops, signs, interiors, animals and night (`train_urban`). They are not distributed. Each licence
allows training; `cmudrn models --credits` names author, licence and source of every photograph.

- **Selection.** From public repositories with a stated licence, by hand, for variety. No photograph of a test set.
- **Preparation.** Reduced to a longer side of at most 1,280 pixels, JPEG. Weather, grain, sharpening and faults of
  cameras are rendered during training.
- **People.** Some show people in public places. Nobody is named, and no property of a person is labelled.
- **Gaps.** Few photographs from Africa, South America and the polar regions; few of screens, documents, drawings and
  aerial views; none of a medical or military kind. Shares were not counted.

| folder | source | photographs |
|---|---|---|
{rows}
"""


def cards() -> dict[Path, str]:
    """Return the text of every card by its path."""
    texts = {CARDS / "data.md": data_card()}
    for name, model in shipped_models().items():
        texts[CARDS / f"{name}.md"] = model_card(model, MODELS[name])
    return texts


def main() -> int:
    """Return 1 where --check finds a card that is not up to date."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    texts = cards()
    there = {path: path.read_text(encoding="utf-8") for path in CARDS.glob("*.md")}
    if check:
        changed = sorted(
            path.name for path in texts.keys() | there if texts.get(path) != there.get(path)
        )
        print(
            "\n".join(f"not up to date: {name}" for name in changed) or "The cards are up to date."
        )
        return int(bool(changed))
    CARDS.mkdir(exist_ok=True)
    for path in there.keys() - texts:
        path.unlink()
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
