"""Lay the pages out for mkdocs, as they lie in the repository, with a gallery and a reference.

    python tools/build_docs.py build/docs && mkdocs build --strict --site-dir site

Links of the pages are relative to the repository, so every file that a page links to is copied.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ("*.md", "docs/**/*.md", "samples/*.md", "tests/data/*.md")
LINK = re.compile(r"\]\(([^)\s#:]+)[^)\s:]*\)")
NAMES = ("cmudrn", "cmudrn.errors", "cmudrn.image", "cmudrn.models", "cmudrn.weather",
         "cmudrn.video", "cmudrn.datasets", "cmudrn.networks", "cmudrn.networks.losses",
         "cmudrn.evaluation.metrics")  # fmt: skip
"""Packages of the reference, whose documented names are shown."""


def write_pages(target: Path) -> None:
    """Write the pages and what they link to below a folder, which is emptied first."""
    shutil.rmtree(target, ignore_errors=True)
    for pattern in PAGES:
        for page in ROOT.glob(pattern):
            text = page.read_text(encoding="utf-8")
            _copy(page, target)
            for link in LINK.findall(text):
                linked = (page.parent / link).resolve()
                if linked.is_relative_to(ROOT) and linked.is_file():
                    _copy(linked, target)
                elif linked.is_dir():  # a site has no listings
                    page_copy = target / page.relative_to(ROOT)
                    page_copy.write_text(re.sub(rf"\[([^\]]*)\]\({re.escape(link)}\)", r"\1", text))
    (target / "gallery.md").write_text(_gallery(target), encoding="utf-8")
    (target / "reference.md").write_text(_reference(), encoding="utf-8")


def _copy(path: Path, target: Path) -> None:
    place = target / path.relative_to(ROOT)
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists():
        shutil.copyfile(path, place)


def _gallery(target: Path) -> str:
    rows = []
    for restored in sorted((ROOT / "docs" / "figures").glob("*.restored.jpg")):
        degraded = ROOT / "samples" / restored.name.replace(".restored", "")
        _copy(restored, target)
        _copy(degraded, target)
        name = degraded.stem
        rows.append(
            f"| ![{name}, as it came](samples/{degraded.name}) "
            f"| ![{name}, restored](docs/figures/{restored.name}) |"
        )
    table = "\n".join(["| input | restored by the default model |", "|---|---|", *rows])
    return (
        f"# Gallery\n\nWeather rendered onto photographs ([credits](samples/README.md)).\n\n{table}"
        "\n\nThe paper's results beside this project's: [paper results](docs/paper-results.md). "
        "Scores of every model: [models](docs/results/models.md).\n"
    )


def _reference() -> str:
    parts = [f"## {name}\n\n::: {name}\n" for name in NAMES]
    return "# Reference\n\n" + "\n".join(parts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path)
    write_pages(parser.parse_args().target)
