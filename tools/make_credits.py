"""Write the list of training photographs with source, author and licence.

python tools/make_credits.py CLEAN src/cmudrn/models/training-data.csv

CLEAN is the folder of clean photographs with MANIFEST.csv and LICENSES. An author is named where
the source's own attribution file names one for that file; otherwise the column is empty.
"""

from __future__ import annotations

import argparse
import csv
import re
from pathlib import Path

COLUMNS = ("file", "source", "path_in_source", "author", "licence", "page")
_FILE = re.compile(r"^\s*(?:Files?|Filename)\s*:\s*(.+)$", re.IGNORECASE)
_AUTHOR = re.compile(r"^\s*(?:Authors?|Copyright)\s*:\s*(.+)$", re.IGNORECASE)


def key_of(name: str) -> str:
    """Return a file name without folder, suffix and case, to compare names of one photograph."""
    return re.sub(r"[^a-z0-9]", "", Path(name.strip()).stem.lower())


def read_authors(folder: Path) -> dict[tuple[str, str], str]:
    """Return (source, file key) -> author from the attribution files of a folder.

    The source is what the names of its attribution files and of its photographs begin with, so that
    two photographs of one name are not mixed up.
    """
    authors: dict[tuple[str, str], str] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".txt", ".md"):
            continue
        files: list[str] = []
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if found := _FILE.match(line):
                files = [key_of(name) for name in found[1].split()]
            elif (found := _AUTHOR.match(line)) and files:
                author = re.sub(r"^(?:\d{4}(?:-\d{4})?,?\s*)+", "", found[1])
                author = re.sub(r"\s*[<(].*?[>)]", "", author).strip(" ,.")
                for name in files:
                    authors.setdefault((path.name.partition("-")[0], name), author)
            elif not line.strip():
                files = []
    return authors


def read_pages(folder: Path) -> dict[str, str]:
    """Return file key -> page of the photograph, where an attribution file gives one."""
    pages: dict[str, str] = {}
    text = (folder / "elementary-copyright.txt").read_text(encoding="utf-8")
    for name, page in re.findall(r"^(.+?) <(https://[^>]+)>$", text, re.MULTILINE):
        pages[key_of(name + ".jpg")] = page
    with (folder / "coco-attribution.csv").open(encoding="utf-8", newline="") as stream:
        pages |= {key_of(row["file"]): row["flickr_page"] for row in csv.DictReader(stream)}
    return pages


def main() -> None:
    """Write the list."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clean", type=Path)
    parser.add_argument("target", type=Path)
    chosen = parser.parse_args()
    authors = read_authors(chosen.clean / "LICENSES")
    pages = read_pages(chosen.clean / "LICENSES")
    with (chosen.clean / "MANIFEST.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if "/train" in row["file"]]
    with chosen.target.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in sorted(rows, key=lambda row: row["file"]):
            name = row["file"].removeprefix("clean/")
            own = Path(name).name.partition("_")[0]
            author = authors.get((own, key_of(row["origin_path"])), "")
            page = pages.get(key_of(name)) or pages.get(key_of(row["origin_path"]), "")
            source, path = row["origin_repository"], row["origin_path"]
            writer.writerow((name, source, path, author, row["licence"], page))


if __name__ == "__main__":
    main()
