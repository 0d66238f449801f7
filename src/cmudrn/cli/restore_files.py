"""`cmudrn restore` over files: each is restored, a bad one is named and the rest goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmudrn.cli.progress import OnPart, show_progress
from cmudrn.cli.terminal import complain, describe, missing_extra, note, say, show_json, verbosity
from cmudrn.errors import CmudrnError, FileError, ImageFileError, UnsupportedImageError
from cmudrn.files import OwnResultError

if TYPE_CHECKING:
    from cmudrn.photos import Job, PhotoResult, PhotoSettings, Plan
    from cmudrn.restoration import Restorer
    from cmudrn.video import ClipResult

_NAMED_AT_MOST = 5
"""Files passed over for one reason that are named one by one."""


@dataclass(frozen=True)
class Run:
    """What all files of a command line have in common.

    Attributes:
        restorer: the model and how it is run.
        photo: what is wanted of photos; clips take from it what is theirs too.
        clip: codec, quality and pixel format of clips; see `VideoFormat`.
        as_json: print a JSON line for each file.
        temporal: fuse the frames of clips over time.
    """

    restorer: Restorer
    photo: PhotoSettings
    clip: tuple[str | None, int | None, str | None]
    as_json: bool
    temporal: bool = True
    _told: set[str] = field(default_factory=set)

    def restore(self, plan: Plan, *, skip_existing: bool) -> bool:
        """Restore every file, tell of each, and return whether all went well.

        Raises:
            ImageFileError: there is none.
            InvalidSettingError: the model or the codecs know no such setting.
            ModelFileError: the gate or score is wanted and the model gives no score.
        """
        from cmudrn.photos import refuse_clashes, without_existing

        self._check_settings()
        self._tell_passed_over(plan.passed_over)
        if not plan.jobs:
            raise ImageFileError("There is no picture among the inputs.")
        jobs = list(plan.jobs)
        if skip_existing:
            jobs = without_existing(jobs, self._results)
            if left_out := len(plan.jobs) - len(jobs):
                note(f"{left_out} of {len(plan.jobs)} files have results already.")
        jobs = refuse_clashes(jobs, self._results, self.photo.overwrite)
        failed = self._restore_all(jobs)
        if failed and len(jobs) > 1 and not self.as_json:
            complain(f"{failed} of {len(jobs)} files were not restored.")
        return not failed

    def _check_settings(self) -> None:
        """Refuse, before any file, what would fail with each."""
        from cmudrn.restoration import check_settings

        check_settings(self.restorer.info, self.photo.restore)
        codec = self.clip[0]
        if codec is None:
            return
        try:
            from cmudrn.video import check_codec
        except ImportError:  # there are no clips then
            return
        check_codec(codec)

    def _restore_all(self, jobs: Sequence[Job]) -> int:
        """Return how many failed."""
        failed = 0
        with show_progress(len(jobs)) as start:
            for number, job in enumerate(jobs):
                try:
                    failed += not self._restore_job(job, start(job.source))
                except KeyboardInterrupt:
                    if len(jobs) > 1:
                        complain(f"{number} of {len(jobs)} files are done; with --skip-existing "
                                 "the same command goes on.")  # fmt: skip
                    raise
        return failed

    def _restore_job(self, job: Job, on_part: OnPart) -> bool:
        try:
            done = self._restore(job, on_part)
        except CmudrnError as error:
            sentence = describe(error)
        except MemoryError:
            sentence = f"There is not enough memory for {job.source}."
        except OSError as error:  # a net: whatever befalls one file, the rest goes on
            sentence = f"Cannot restore {job.source}: {error.strerror}."
        else:
            self._tell(done)
            return True
        if self.as_json:
            _print_json({"input": str(job.source), "ok": False, "error": sentence})
        elif sentence not in self._told:  # files that clash share one sentence
            complain(sentence)
            self._told.add(sentence)
        return False

    def _restore(self, job: Job, on_part: OnPart) -> PhotoResult | ClipResult:
        from cmudrn.photos import restore_photo

        if job.error:
            raise job.error
        if job.is_clip:
            return self._restore_clip(job, on_part)
        return restore_photo(self.restorer, job.source, job.target, self.photo, on_part)

    def _results(self, job: Job) -> list[Path]:
        """Return every file that a job writes."""
        from cmudrn.photos import result_paths

        if job.error:
            return []
        tasks, restore = self.restorer.info.tasks, self.photo.restore
        if not job.is_clip:
            return result_paths(job.target, self.photo, tasks)
        try:
            from cmudrn.video.settings import layer_path, scores_path
        except ImportError:  # nothing is written then
            return [job.target]
        names = (*tasks, "fused") if restore.layers else ()
        layers = [layer_path(job.target, name) for name in names]
        return [job.target, *layers, *([scores_path(job.target)] if restore.score else [])]

    def _restore_clip(self, job: Job, on_frame: OnPart) -> ClipResult:
        try:
            from cmudrn.video import ClipSettings, VideoFormat, restore_clip
            from cmudrn.video.segments import segments_folder
        except ImportError as error:
            raise missing_extra(error, f"{job.source} is video, which") or error from error
        if self.photo.provenance:
            sentence = f"{job.source} is video; records are made of pictures."
            raise UnsupportedImageError(sentence, path=job.source)
        settings = ClipSettings(
            self.photo.restore,
            side_by_side=self.photo.side_by_side,
            overwrite=self.photo.overwrite,
            temporal=self.temporal,
            format=VideoFormat(*self.clip),
        )
        try:
            return restore_clip(
                self.restorer, job.source, job.target, settings, on_frame,
                on_note=lambda sentence: note(f"{job.source}: {sentence}"),
            )  # fmt: skip
        except KeyboardInterrupt:
            if any(segments_folder(job.target).glob("*.npz")):
                complain(f"{job.source}: finished parts are kept; "
                         "the same command goes on from there.")  # fmt: skip
            raise

    def _tell(self, done: PhotoResult | ClipResult) -> None:
        if self.as_json:
            _print_json(done.to_json())
            return
        words = _words(done)
        if verbosity() > 0:
            words.append(f"{done.width}x{done.height}, {done.seconds:.1f} s")
        told = f" ({'; '.join(words)})" if words else ""
        say(f"{done.source} -> {done.target}{told}")
        for sentence in done.notes:
            note(f"{done.source}: {sentence}")

    def _tell_passed_over(self, errors: Sequence[FileError]) -> None:
        """Tell of files that are left out: the first few of each kind one by one."""
        if self.as_json:
            for error in errors:
                _print_json({"input": str(error.path), "ok": False, "passed_over": True,
                             "error": str(error)})  # fmt: skip
            return
        kinds: dict[str, list[FileError]] = {}
        for error in errors:
            kind = "results" if isinstance(error, OwnResultError) else "links"
            if isinstance(error, UnsupportedImageError):
                kind = Path(str(error.path)).suffix.lower()
            kinds.setdefault(kind, []).append(error)
        for kind, alike in kinds.items():
            for error in alike[:_NAMED_AT_MOST]:
                complain(str(error))
            if (further := len(alike) - _NAMED_AT_MOST) > 0:
                complain(f"{further} more {kind} are passed over likewise.")


def _words(done: PhotoResult | ClipResult) -> list[str]:
    """Return what to say of a result's weather."""
    from cmudrn.photos import PhotoResult

    if not isinstance(done, PhotoResult):
        return [f"{done.passed} of {done.frames} frames passed as clear"] if done.passed else []
    words = []
    if done.weather is not None:
        scores = asdict(done.weather).items()
        words.append(", ".join(f"{name} {value:.0%}" for name, value in scores))
    return [*words, "passed as clear"] if done.passed else words


def _print_json(record: Mapping[str, Any]) -> None:
    show_json(record)
