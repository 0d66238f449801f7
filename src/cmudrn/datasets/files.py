"""Picture files of a folder: found and put in order."""

from __future__ import annotations

from pathlib import Path

from cmudrn.files import list_folder, natural_order


def list_pictures(folder: Path, below: bool = True) -> list[Path]:
    """Return the picture files in a folder, in natural order.

    Args:
        folder: where to look.
        below: also look in the folders below it. Hidden files never count.
    """
    found = list_folder(folder, below=below, follow_links=True).images
    return sorted(found, key=lambda path: natural_order(str(path.relative_to(folder))))
