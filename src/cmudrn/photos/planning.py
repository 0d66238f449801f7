"""Which files are restored, and where each result goes."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator, Sequence
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
        error: why it cannot be restored, one sentence; "" where it may be tried.
    """

    source: Path
    target: Path
    error: str = ""


def plan_jobs(
    inputs: Sequence[str], output: str | None = None, format: str | None = None
) -> list[Job]:
    """Return what to restore, and where to.

    Without an output, `photo.jpg` becomes `photo.restored.jpg` beside it, and what is in the
    folder `photos` goes to the folder `photos.restored` beside that. An output that ends in a
    known suffix names the result of a single file; any other output is a folder. An input that
    does not exist is a job with an error, and one that is named twice is taken once.

    Args:
        inputs: files, folders (walked, their tree kept) and glob patterns.
        output: a file or folder.
        format: one of `FORMATS`; changes the suffix of the results.

    Raises:
        CmudrnError: several inputs would become one file, a picture would become a clip or a
            clip a picture, or the output is named as another format.
    """
    named = [name for text in inputs for name in _expand(text)]
    if output is not None and _names_a_file(output):
        if len(set(map(os.path.abspath, named))) > 1 or os.path.isdir(named[0]):
            raise CmudrnError(f"Several pictures cannot all become {output}; name a folder.")
        job = Job(Path(named[0]), Path(output), _why_missing(named[0]))
        if not job.error and is_clip(job.source) != is_clip(job.target):
            kinds = ("video", "picture") if is_clip(job.source) else ("picture", "video")
            raise CmudrnError(
                f"{job.source} is a {kinds[0]}; {output} is the name of a {kinds[1]}."
            )
        check_format(job.target, format)
        return [job]
    folder = None if output is None else Path(output)
    jobs = [job for name in named for job in _jobs_of(name, folder, format)]
    places = [(os.path.abspath(job.source), os.path.abspath(job.target)) for job in jobs]
    return list(dict(zip(places, jobs, strict=True)).values())


def _names_a_file(output: str) -> bool:
    suffix = Path(output).suffix.lower()
    known = suffix in SUFFIXES or is_clip(Path(output))
    return known and not output.endswith(("/", os.sep)) and not os.path.isdir(output)


def check_format(target: Path, format: str | None) -> None:
    """Refuse a name that says another format than the one asked for.

    Raises:
        CmudrnError: it does; a name that says none will do for all.
    """
    named = SUFFIXES.get(target.suffix.lower())
    if named and format and named != format:
        raise CmudrnError(f"{target} is the name of a {named}, and --format asks for {format}.")


def _expand(text: str) -> list[str]:
    """Return the names that a pattern stands for, or the text itself where it is none."""
    if not os.path.lexists(text) and glob.has_magic(text):
        return sorted(glob.glob(text, recursive=True)) or [text]
    return [text]


def _why_missing(name: str) -> str:
    # Asked of the text: Path("") would be the folder that we are in.
    return "" if os.path.lexists(name) else f"There is no file {name}."


def _jobs_of(name: str, folder: Path | None, format: str | None) -> Iterator[Job]:
    path = Path(name)
    if missing := _why_missing(name):
        yield Job(path, path, missing)
        return
    if not os.path.isdir(path):
        beside = path.with_name(f"{path.stem}.restored{path.suffix}")
        yield Job(path, _with_format(folder / path.name if folder else beside, format))
        return
    real = Path(os.path.realpath(path))
    root = folder or real.with_name(real.name + ".restored")
    unreadable: list[OSError] = []
    for source in walk(path, skip=root, on_error=unreadable.append):
        yield Job(source, _with_format(root / source.relative_to(path), format))
    for error in unreadable:  # its pictures would be missing from the results without a word
        inner = Path(error.filename)
        sentence = f"Cannot read {inner}: {error.strerror}."
        yield Job(inner, root / inner.relative_to(path), sentence)


def _with_format(target: Path, format: str | None) -> Path:
    if format is None or SUFFIXES.get(target.suffix.lower(), format) == format:
        return target
    suffix = next(suffix for suffix, name in SUFFIXES.items() if name == format)
    return target.with_suffix(suffix)


def walk(
    folder: Path, skip: Path | None = None, on_error: Callable[[OSError], None] | None = None
) -> Iterator[Path]:
    """Yield pictures and videos below a folder in order of their names.

    Hidden files and folders, links to folders, and the folder `skip` are left out.

    Args:
        folder: where to look.
        skip: a folder to leave out.
        on_error: told of folders that cannot be read; None passes over them.
    """
    for root, folders, files in os.walk(folder, onerror=on_error):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and not (skip and _same(Path(root, name), skip))
        )
        for name in sorted(files):
            suffix = Path(name).suffix.lower()
            if not name.startswith(".") and (suffix in SUFFIXES or suffix in VIDEO_SUFFIXES):
                yield Path(root, name)


def is_clip(path: Path) -> bool:
    """Return whether a file's name says that it is video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)  # Path.resolve fails on a loop


def refuse_collisions(written: Sequence[tuple[Path, Path]], overwrite: bool) -> None:
    """Refuse results that would cost each other, or inputs that are still to be read.

    Args:
        written: a source and a file that is written for it; a source may come several times.
        overwrite: whether files that exist are replaced, and inputs with them.

    Raises:
        CmudrnError: two sources would write the same file, or one would write another source.
    """
    sources = {os.path.realpath(source): source for source, _ in written} if overwrite else {}
    taken: dict[str, Path] = {}
    for source, path in written:
        place = os.path.realpath(path)
        if place in taken:
            raise CmudrnError(
                f"{taken[place]} and {source} would both become {path}; "
                "restore them into different folders."
            )
        # A source that would overwrite itself is one bad file; check_target reports it.
        if place in sources and place != os.path.realpath(source):
            raise CmudrnError(
                f"{source} would overwrite {sources[place]}, which is an input too; "
                "restore them into another folder."
            )
        taken[place] = source
