"""Which files are restored, and where each result goes; photos and clips alike."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cmudrn.errors import CmudrnError, FileError, ImageFileError, TargetError
from cmudrn.files import (
    IMAGE_SUFFIXES,
    OwnResultError,
    file_kind,
    find_results,
    holds_video,
    list_folder,
    result_beside,
    result_name,
)

Results = Callable[["Job"], Sequence[Path]]
"""Returns every file that a job writes."""


@dataclass(frozen=True)
class Job:
    """One file to restore.

    Attributes:
        source: the file.
        target: where its result goes.
        error: why it cannot be restored; None where it may be tried.
    """

    source: Path
    target: Path
    error: CmudrnError | None = None

    @property
    def is_clip(self) -> bool:
        """Whether the source is video: by its name, or by its content if that says nothing."""
        kind = file_kind(self.source)
        return kind == "clip" or (kind != "image" and holds_video(self.source))


@dataclass(frozen=True)
class Plan:
    """What to restore.

    Attributes:
        jobs: in order.
        passed_over: files of folders that are left out, each with the reason; see `Listing`.
    """

    jobs: tuple[Job, ...]
    passed_over: tuple[FileError, ...] = ()


def plan_jobs(
    inputs: Sequence[str],
    output: str | None = None,
    format: str | None = None,
    *,
    follow_links: bool = False,
) -> Plan:
    """Return what to restore, and where to.

    Without an output, `photo.jpg` becomes `photo.restored.jpg` beside it, and what is in the
    folder `photos` goes to the folder `photos.restored` beside that. Video in a container that is
    not written, such as .mxf, becomes .mkv. An output that ends in a known suffix names the result
    of a single file; any other output is a folder. An input that does not exist is a job with an
    error, and one that is named twice is taken once. A result beside its source is passed over
    where both are inputs.

    Args:
        inputs: files, folders (walked, their tree kept) and glob patterns.
        output: a file or folder.
        format: one of `FORMATS`; changes the suffix of the results.
        follow_links: also take links in folders to files outside them.

    Raises:
        TargetError: several inputs would become one file, a picture would become a clip or a
            clip a picture, or the output is named as another format or as an unknown kind.
    """
    named = [name for text in inputs for name in _expand(text)]
    if output is not None:
        single = len(named) == 1 and not os.path.isdir(named[0])
        check_output(output, single=single)
        if _names_a_file(output):
            return Plan((_plan_file(named, output, format),))
    folder = None if output is None else Path(output)
    jobs: list[Job] = []
    made = find_results(Path(name) for name in named if name)
    passed_over: list[FileError] = [OwnResultError(*both) for both in made.items()]
    for name in named:
        if Path(name) in made:
            continue
        plan = _plan_input(name, folder, format, follow_links)
        jobs += plan.jobs
        passed_over += plan.passed_over
    places = [(os.path.abspath(job.source), os.path.abspath(job.target)) for job in jobs]
    once = dict(zip(places, jobs, strict=True)).values()
    return Plan(tuple(once), tuple(passed_over))


def _plan_file(named: list[str], output: str, format: str | None) -> Job:
    """Return the job whose result has a name of its own."""
    target = Path(output)
    if len(set(map(os.path.abspath, named))) > 1 or os.path.isdir(named[0]):
        sentence = f"Several pictures cannot all become {output}; name a folder."
        raise TargetError(sentence, path=target, misnamed=True)
    job = Job(Path(named[0]), target, _why_missing(named[0]))
    if not job.error and job.is_clip != (file_kind(target) == "clip"):
        kinds = ("video", "picture") if job.is_clip else ("picture", "video")
        sentence = f"{job.source} is a {kinds[0]}; {output} is the name of a {kinds[1]}."
        raise TargetError(sentence, path=target, misnamed=True)
    check_format(target, format)
    return job


def _names_a_folder(output: str) -> bool:
    return output.endswith(("/", os.sep)) or os.path.isdir(output)


def _names_a_file(output: str) -> bool:
    return file_kind(output) in ("image", "clip") and not _names_a_folder(output)


def check_output(output: str, *, single: bool) -> None:
    """Refuse an output that is meant as a file, but of a kind that is not written.

    Args:
        output: a file, or a folder, whose name may end in /.
        single: whether it is for one file, so that any suffix means a file.

    Raises:
        TargetError: it is.
    """
    suffix = Path(output).suffix.lower()
    if _names_a_folder(output) or file_kind(output) in ("image", "clip"):
        return
    if file_kind(output) == "unsupported" or (single and any(map(str.isalpha, suffix))):
        known = ", ".join(IMAGE_SUFFIXES)
        raise TargetError(
            f"{output} does not end in a known suffix ({known}, or one of video); "
            "the name of a new folder ends in /.",
            path=output,
            misnamed=True,
        )


def check_format(target: Path, format: str | None) -> None:
    """Refuse a name that says another format than the one asked for.

    Raises:
        TargetError: it does; a name that says none will do for all.
    """
    named = IMAGE_SUFFIXES.get(target.suffix.lower())
    if named and format and named != format:
        sentence = f"{target} is the name of a {named}, and the format asked for is {format}."
        raise TargetError(sentence, path=target, misnamed=True)


def _expand(text: str) -> list[str]:
    """Return the names that a pattern stands for, or the text itself where it is none."""
    if not os.path.lexists(text) and glob.has_magic(text):
        return sorted(glob.glob(text, recursive=True)) or [text]
    return [text]


def _why_missing(name: str) -> ImageFileError | None:
    # Asked of the text: Path("") would be the folder that we are in.
    if os.path.lexists(name):
        return None
    return ImageFileError(
        f"There is no file {name}." if name else "A file's name is empty.", path=name
    )


def _plan_input(name: str, folder: Path | None, format: str | None, follow_links: bool) -> Plan:
    path = Path(name)
    if missing := _why_missing(name):
        return Plan((Job(path, path, missing),))
    if not os.path.isdir(path):
        named = result_name(folder / path.name) if folder else result_beside(path)
        target = _with_format(named, format)
        job = Job(path, target)
        if job.is_clip and file_kind(target) != "clip":
            job = replace(job, target=target.with_suffix(".mkv"))  # takes every codec
        return Plan((job,))
    real = Path(os.path.realpath(path))
    root = folder or real.with_name(real.name + ".restored")
    listing = list_folder(
        path, skip=[root], follow_links=follow_links, results=False, read_only=True
    )
    jobs = [
        Job(source, _with_format(result_name(root / source.relative_to(path)), format))
        for source in listing.files
    ]
    for error in listing.unreadable:  # its pictures would be missing without a word
        inner = Path(str(error.path))
        jobs.append(Job(inner, root / inner.relative_to(path), error))
    return Plan(tuple(jobs), listing.passed_over)


def _with_format(target: Path, format: str | None) -> Path:
    if format is None or IMAGE_SUFFIXES.get(target.suffix.lower(), format) == format:
        return target
    suffix = next(suffix for suffix, name in IMAGE_SUFFIXES.items() if name == format)
    return target.with_suffix(suffix)


def refuse_clashes(jobs: Sequence[Job], results: Results, overwrite: bool) -> list[Job]:
    """Return the jobs; those whose results would cost each other, or an input, have an error.

    Args:
        jobs: what to restore.
        results: returns every file that a job writes.
        overwrite: whether files that exist are replaced, and inputs with them.
    """
    sources = {os.path.realpath(job.source): job.source for job in jobs} if overwrite else {}
    writers: dict[str, list[Job]] = {}
    places = {job: [(os.path.realpath(path), path) for path in results(job)] for job in jobs}
    for job, written in places.items():
        for place, _ in written:
            writers.setdefault(place, []).append(job)
    return [
        job if job.error else replace(job, error=_clash(job, places[job], writers, sources))
        for job in jobs
    ]


def _clash(
    job: Job,
    written: Sequence[tuple[str, Path]],
    writers: dict[str, list[Job]],
    sources: dict[str, Path],
) -> TargetError | None:
    for place, path in written:
        # A source that would overwrite itself is one bad file; check_target reports it.
        if place in sources and place != os.path.realpath(job.source):
            sentence = (
                f"{job.source} would overwrite {sources[place]}, which is an input too; "
                "restore them into another folder."
            )
            return TargetError(sentence, path=path)
        if len(writers[place]) > 1:
            names = " and ".join(str(other.source) for other in writers[place])
            sentence = f"{names} would both become {path}; restore them into different folders."
            return TargetError(sentence, path=path)
    return None


def without_existing(jobs: Sequence[Job], results: Results) -> list[Job]:
    """Return the jobs of which a result is missing.

    Results appear whole, so a run that was stopped goes on with these.

    Args:
        jobs: what to restore.
        results: returns every file that a job writes.
    """
    return [job for job in jobs if job.error or not all(path.exists() for path in results(job))]
