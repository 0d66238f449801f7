"""Which files are restored, and where each result goes."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cmudrn.errors import CmudrnError
from cmudrn.image import SUFFIXES

VIDEO_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .ts .mts .m2ts .wmv .flv .3gp .ogv".split()
)
"""File name suffixes that are taken for video."""


@dataclass(frozen=True)
class Job:
    """One file to restore.

    Attributes:
        source: the file.
        target: where its result goes.
    """

    source: Path
    target: Path


def plan_jobs(
    inputs: Sequence[str], output: str | None = None, format: str | None = None
) -> list[Job]:
    """Return what to restore, and where to.

    Without an output, `photo.jpg` becomes `photo.restored.jpg` beside it, and what is in the
    folder `photos` goes to the folder `photos.restored` beside that. An output that ends in a
    known suffix names the result of a single file; any other output is a folder.

    Args:
        inputs: files, folders (walked, their tree kept) and glob patterns.
        output: a file or folder.
        format: one of `FORMATS`; changes the suffix of the results.

    Raises:
        CmudrnError: an input does not exist, or two results would have the same name.
    """
    named = [path for text in inputs for path in _expand(text)]
    if output is not None and _names_a_file(output):
        if len(named) > 1 or named[0].is_dir():
            raise CmudrnError(f"Several pictures cannot all become {output}; name a folder.")
        return [Job(named[0], Path(output))]
    folder = None if output is None else Path(output)
    jobs = [job for path in named for job in _jobs_of(path, folder, format)]
    _refuse_collisions(jobs)
    return jobs


def _names_a_file(output: str) -> bool:
    suffix = Path(output).suffix.lower()
    known = suffix in SUFFIXES or suffix in VIDEO_SUFFIXES
    return known and not output.endswith(("/", os.sep)) and not os.path.isdir(output)


def _expand(text: str) -> list[Path]:
    if os.path.lexists(text):
        return [Path(text)]
    found = sorted(glob.glob(text, recursive=True)) if glob.has_magic(text) else []
    if not found:
        raise CmudrnError(f"There is no file {text}.")
    return [Path(path) for path in found]


def _jobs_of(path: Path, folder: Path | None, format: str | None) -> Iterator[Job]:
    if not path.is_dir():
        beside = path.with_name(f"{path.stem}.restored{path.suffix}")
        yield Job(path, _with_format(folder / path.name if folder else beside, format))
        return
    root = folder or path.resolve().with_name(path.resolve().name + ".restored")
    for source in walk(path, skip=root):
        yield Job(source, _with_format(root / source.relative_to(path), format))


def _with_format(target: Path, format: str | None) -> Path:
    if format is None or SUFFIXES.get(target.suffix.lower(), format) == format:
        return target
    suffix = next(suffix for suffix, name in SUFFIXES.items() if name == format)
    return target.with_suffix(suffix)


def walk(folder: Path, skip: Path | None = None) -> Iterator[Path]:
    """Yield pictures and videos below a folder in order of their names.

    Hidden files and folders, links to folders, and the folder `skip` are left out.
    """
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and not (skip and _same(Path(root, name), skip))
        )
        for name in sorted(files):
            suffix = Path(name).suffix.lower()
            if not name.startswith(".") and (suffix in SUFFIXES or suffix in VIDEO_SUFFIXES):
                yield Path(root, name)


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def _refuse_collisions(jobs: Iterable[Job]) -> None:
    taken: dict[Path, Path] = {}
    for job in jobs:
        target = Path(os.path.abspath(job.target))
        if target in taken:
            raise CmudrnError(
                f"{taken[target]} and {job.source} would both become {job.target}; "
                "restore them into different folders."
            )
        taken[target] = job.source


def check_target(source: Path | None, target: Path, overwrite: bool) -> None:
    """Refuse a target that would cost the user a file, or cannot be written.

    Raises:
        CmudrnError: it is the source, it exists and overwrite is off, or it lies in no folder
            that can be made.
    """
    if target.exists():
        if target.is_dir():
            raise CmudrnError(f"{target} is a folder.")
        if source and target.samefile(source):
            raise CmudrnError(f"{source} would overwrite itself; choose another output.")
        if not overwrite:
            raise CmudrnError(f"{target} exists already (--overwrite replaces it).")
    ancestor = next(parent for parent in target.absolute().parents if parent.exists())
    if not ancestor.is_dir() or not os.access(ancestor, os.W_OK):
        raise CmudrnError(f"Cannot write {target}: {ancestor} is not a folder to write to.")
