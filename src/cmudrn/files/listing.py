"""The images and clips of a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cmudrn.errors import FileError, UnsupportedImageError
from cmudrn.files.kinds import Kind, file_kind, holds_still
from cmudrn.files.results import find_results


def is_hidden(relative: str | os.PathLike[str]) -> bool:
    """Return whether a path below a folder is, or lies in, something hidden."""
    return any(part.startswith(".") for part in Path(relative).parts)


def natural_order(text: str) -> tuple[tuple[int, str], ...]:
    """Return a sort key by which 2 comes before 10.

    Example:
        >>> sorted(["b10", "b2"], key=natural_order)
        ['b2', 'b10']
    """
    parts = re.split(r"(\d+)", text)
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)


class OutwardLinkError(FileError):
    """A link out of the folder that was named, to a file; it is not followed."""


class OwnResultError(FileError):
    """A file that is the result of another one beside it; it is not restored again.

    Args:
        result: the file.
        source: what it was made from.
    """

    def __init__(self, result: Path, source: Path) -> None:
        sentence = f"{result} is passed over: it is a result of {source.name}."
        super().__init__(sentence, path=result)
        self._both = (result, source)

    def __reduce__(self) -> tuple[type[OwnResultError], tuple[Path, Path]]:
        return type(self), self._both


@dataclass(frozen=True)
class Listing:
    """The images and clips of a folder.

    Attributes:
        images: in order of their paths.
        clips: likewise.
        passed_over: files and folders that look like something to restore and are left out, each
            with the reason: images of a kind that is not read, links that are not followed, and
            results.
        unreadable: folders that cannot be read.
    """

    images: tuple[Path, ...]
    clips: tuple[Path, ...]
    passed_over: tuple[FileError, ...]
    unreadable: tuple[FileError, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """Images and clips in order of their paths."""
        return tuple(sorted((*self.images, *self.clips)))


def list_folder(
    folder: str | os.PathLike[str],
    *,
    skip: Iterable[str | os.PathLike[str]] = (),
    below: bool = True,
    follow_links: bool = False,
    results: bool = True,
    read_only: bool = False,
) -> Listing:
    """Return the images and clips of a folder, told by their names.

    Hidden files and folders are left out. Links to folders are not followed.

    Args:
        folder: where to look.
        skip: folders to leave out with all below them, such as that of the results.
        below: also look in the folders below it.
        follow_links: take links to files that lie outside the folder.
        results: take files, too, that are results of others beside them; see `find_results`.
        read_only: take stills, too, of kinds that are read and not written, such as .gif.
    """
    start = Path(folder)
    left_out = {os.path.realpath(path) for path in skip}
    root = os.path.realpath(start)
    found: dict[str, list[Path]] = {"image": [], "clip": []}
    passed_over: list[FileError] = []
    unreadable: list[OSError] = []
    for place, folders, names in os.walk(start, onerror=unreadable.append):
        kept = []
        for name in folders:
            path = Path(place, name)
            if name.startswith(".") or os.path.realpath(path) in left_out:
                continue
            if path.is_symlink():
                sentence = f"{path} is a link to a folder and is not followed."
                passed_over.append(FileError(sentence, path=path))
            else:
                kept.append(name)
        folders[:] = kept if below else []
        for name in names:
            path = Path(place, name)
            if (kind := _kind(path, read_only)) is None:
                continue
            if error := _why_passed_over(path, kind, root, follow_links):
                passed_over.append(error)
            else:
                found[kind].append(path)
    if not results:
        made = find_results((*found["image"], *found["clip"]))
        passed_over += [OwnResultError(path, source) for path, source in made.items()]
        found = {
            kind: [path for path in paths if path not in made] for kind, paths in found.items()
        }
    return Listing(
        tuple(sorted(found["image"])),
        tuple(sorted(found["clip"])),
        tuple(sorted(passed_over, key=lambda error: str(error.path))),
        tuple(map(_cannot_read, unreadable)),
    )


def _kind(path: Path, read_only: bool) -> Kind | None:
    """Return what a file is taken for, or None where it is hidden or none of this."""
    kind = None if path.name.startswith(".") else file_kind(path)
    return "image" if read_only and kind == "unsupported" and holds_still(path) else kind


def _cannot_read(error: OSError) -> FileError:
    path = Path(error.filename)
    return FileError(f"Cannot read {path}: {error.strerror}.", path=path)


def _why_passed_over(path: Path, kind: Kind, root: str, follow_links: bool) -> FileError | None:
    if kind == "unsupported":
        suffix = path.suffix.lower()
        return UnsupportedImageError(
            f"{path} is passed over: {suffix} files are not read.", path=path
        )
    if not follow_links and path.is_symlink():
        real = os.path.realpath(path)
        if os.path.commonpath([root, real]) != root:
            sentence = f"{path} is a link out of the folder and is not followed."
            return OutwardLinkError(sentence, path=path)
    return None
