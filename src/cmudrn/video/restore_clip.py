"""A clip from decoding to the finished file, each step working while the next one does."""

from __future__ import annotations

import csv
import io
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmudrn.files import atomic_file, check_target, make_folder
from cmudrn.models.info import check_depth
from cmudrn.restoration import FrameRestorer, Restorer
from cmudrn.restoration.frame_restorer import CLIP_LOOKAHEAD, RestoredFrame
from cmudrn.restoration.weather_classifier import check_scorable
from cmudrn.version import __version__
from cmudrn.video.carry import Carried, choose_carried
from cmudrn.video.decode import (
    Clip,
    Frame,
    FrameReader,
    VideoFileError,
    open_clip,
    probe,
)
from cmudrn.video.disk import SPARE, disk_note, measure_copied, needed_bytes
from cmudrn.video.encode import SEGMENT_FRAMES, Encoding, choose_encoding
from cmudrn.video.integrity import check_integrity
from cmudrn.video.mux import check_muxable, mux_segments
from cmudrn.video.pixel_formats import lost_of
from cmudrn.video.prefetch import prefetch
from cmudrn.video.segment_encoder import FinishedFrame, encode_segment
from cmudrn.video.segments import SegmentStore, file_signature
from cmudrn.video.settings import ClipResult, ClipSettings, layer_path, scores_path

OnFrame = Callable[[int, int], None]
"""Called with the number of frames done and of all frames; may raise to stop the work."""

OnNote = Callable[[str], None]
"""Called with what has to be known before the work is done."""

USUAL = ClipSettings()


def restore_clip(
    restorer: Restorer,
    source: Path,
    target: Path,
    settings: ClipSettings = USUAL,
    on_frame: OnFrame | None = None,
    on_note: OnNote | None = None,
) -> ClipResult:
    """Restore one video file.

    A run that is stopped, in whatever way, leaves its finished segments in the hidden folder
    `.NAME.segments` beside the target; the same call resumes there and gives the same file.

    Args:
        restorer: the model and how it is run.
        source: the clip.
        target: the file to write; its suffix says which container it becomes.
        settings: what is wanted.
        on_frame: told of progress.
        on_note: told after the first segment where the clip will take much of the disk.

    Raises:
        VideoFileError: the clip cannot be read.
        LimitExceededError: it exceeds `ClipSettings.limits`.
        InvalidSettingError: the codec, quality or pixel format does not exist or fit.
        TargetError: the result cannot be written, or another run is making it.
    """
    start = time.perf_counter()
    targets = _targets(restorer, target, settings)
    scores_file = scores_path(target) if settings.restore.score else None
    for path in filter(None, (*targets.values(), scores_file)):
        check_target(source, path, settings.overwrite)
    clip = probe(source, settings.limits)
    encodings = _encodings(clip, targets, settings)
    carried = _check_targets(clip, encodings, targets)
    with closing(SegmentStore(target, make_plan(restorer, clip, encodings, settings))) as store:
        work = _Work(restorer, clip, store, encodings, settings, carried, on_frame, on_note)
        work.make_segments()
        scores = np.concatenate([store.scores(number) for number in range(work.count)])
        notes = [*work.notes(), *carried.notes]
        for name, path in targets.items():
            rest = carried if name == "restored" else None
            notes += mux_segments(clip, store, work.count, name, encodings[name], path, rest)
        if scores_file:
            _write_scores(scores_file, clip, store, work.count)
        store.remove()
    return ClipResult(
        source=source,
        target=target,
        width=clip.width,
        height=clip.height,
        frames=work.frames,
        resumed_at=work.resumed_at,
        passed=int(np.nansum(scores[:, 3])),
        model=restorer.info.name,
        seconds=time.perf_counter() - start,
        layers={name: path for name, path in targets.items() if name != "restored"},
        scores=scores_file,
        notes=tuple(notes),
    )


def _targets(restorer: Restorer, target: Path, settings: ClipSettings) -> dict[str, Path]:
    """Return the videos to write: "restored", and each removed layer that was asked for."""
    if settings.restore.scored:
        check_scorable(restorer.info)
    layers = (*restorer.info.tasks, "fused") if settings.restore.layers else ()
    return {"restored": target} | {name: layer_path(target, name) for name in layers}


def _encodings(clip: Clip, targets: Mapping[str, Path], settings: ClipSettings) -> dict[str, Any]:
    wide = clip.width * (2 if settings.side_by_side else 1)
    return {
        name: choose_encoding(
            clip, path, settings.format, wide if name == "restored" else clip.width
        )
        for name, path in targets.items()
    }


def _check_targets(
    clip: Clip, encodings: Mapping[str, Encoding], targets: Mapping[str, Path]
) -> Carried:
    """Try all that an encoder or a container may refuse, make the folder; return what goes over."""
    for encoding in encodings.values():
        encoding.check()
    with open_clip(clip.path) as container:
        carried = choose_carried(container, clip, targets["restored"])
    for name, path in targets.items():
        check_muxable(clip, encodings[name], path, carried if name == "restored" else None)
    make_folder(targets["restored"].parent)
    return carried


def make_plan(
    restorer: Restorer, clip: Clip, encodings: Mapping[str, Encoding], settings: ClipSettings
) -> dict[str, object]:
    """Return everything that decides what the segments hold, as a record of plain values."""
    info, restore = restorer.info, settings.restore
    return {
        "source": file_signature(clip.path),
        "program": __version__,
        "model": info.sha256 or info.name,
        "engine": _engine(restorer),
        "depth": check_depth(info, restore.stages, restore.recursions),
        "budget_ms": getattr(restorer, "budget_ms", None),
        "change_gating": restorer.change_gating,
        "segment_frames": SEGMENT_FRAMES,
        "settings": asdict(restore)
        | {
            "side_by_side": settings.side_by_side,
            "temporal": settings.fuses(clip.width, clip.height),
        },
        "encodings": {name: asdict(encoding) for name, encoding in encodings.items()},
    }


def _engine(restorer: Restorer) -> list[Any]:
    """Return what of an engine decides its last bits."""
    engine = restorer.engine
    # bfloat16 rounds differently with other threads.
    threads = engine.threads if engine.precision == "bf16" else None
    return [type(engine).__name__, engine.instruction_set, engine.precision, threads]


class _Work:
    """The segments of one clip being made.

    Attributes:
        count: segments that are there.
        frames: frames in them.
        resumed_at: frames that were there at the beginning.
    """

    def __init__(
        self,
        restorer: Restorer,
        clip: Clip,
        store: SegmentStore,
        encodings: Mapping[str, Encoding],
        settings: ClipSettings,
        carried: Carried,
        on_frame: OnFrame | None,
        on_note: OnNote | None,
    ) -> None:
        self._restorer, self._clip, self._store = restorer, clip, store
        self._encodings, self._settings = encodings, settings
        self._carried, self._on_frame, self._on_note = carried, on_frame, on_note
        self._reader = FrameReader(clip, settings.limits)
        self.count = self.frames = self.resumed_at = self._told = 0
        self._interlaced = False

    def make_segments(self) -> None:
        """Make the segments that are missing.

        Raises:
            CmudrnError: the clip cannot be read, restored or encoded, or a segment not written.
        """
        store = self._store
        self.count = store.open()
        self.frames = self.resumed_at = sum(len(store.scores(n)) for n in range(self.count))
        # Only the last segment may be short: then everything is there.
        if self.resumed_at % SEGMENT_FRAMES:
            return
        state = store.state(self.count - 1) if self.count else np.full(3, np.nan)
        try:
            self._make_from(state)
            if not self.count:
                raise VideoFileError(
                    f"{self._clip.path} holds no frame that can be decoded.", path=self._clip.path
                )
        except BaseException:
            if store.is_empty():  # nothing to resume
                store.remove()
            raise

    def notes(self) -> list[str]:
        """Return what of the clip is missing or was changed on the way to its segments.

        Raises:
            VideoFileError: the clip cannot be read.
        """
        clip, settings = self._clip, self._settings
        notes = ["Transparency was left out: the result is opaque."] if clip.alpha else []
        if settings.temporal and not settings.fuses(clip.width, clip.height):
            notes.append("Frames this large are restored one by one: memory is limited.")
        stored = self._encodings["restored"].pixel_format
        if settings.format.pixel_format is None and (lost := lost_of(clip.pixel_format, stored)):
            notes.append(f"{clip.pixel_format} became {stored}: {lost}.")
        if self._interlaced:
            notes.append("Interlaced frames are marked as progressive.")
        return [*notes, *check_integrity(self._clip, self.frames), *self._reader.notes()]

    def _make_from(self, state: NDArray[np.float64]) -> None:
        clip = self._clip
        waiting = self._settings.limits.prefetched(clip.width, clip.height)
        # A generator that is closed closes the one it feeds on.
        with closing(prefetch(self._restored(state, waiting), waiting)) as finished:
            counted = self._counted(finished)
            while segment := encode_segment(islice(counted, SEGMENT_FRAMES), self._encodings, clip):
                self._store.write(self.count, segment)
                self.count += 1
                self.frames += len(segment.scores)
                if self._on_note and self.count & (self.count - 1) == 0:  # 1, 2, 4 and so on
                    self._tell_of_disk(self._on_note)

    def _tell_of_disk(self, on_note: OnNote) -> None:
        """Say how much of the disk is needed, once, and again where it becomes more than that."""
        store, clip = self._store, self._clip
        with open_clip(clip.path) as source:
            seconds = float(self.frames / clip.rate)
            copied = measure_copied(source, clip.stream, self._carried, seconds)
        used = sum(store.size(number) for number in range(self.count))
        needed = needed_bytes(used, self.frames, clip.frames, copied)
        if needed > self._told and (note := disk_note(store.path, used, int(SPARE * needed))):
            on_note(note)
            self._told = int(SPARE * needed)

    def _restored(self, state: NDArray[np.float64], waiting: int) -> Iterator[FinishedFrame]:
        """Yield the frames that are still to be restored; `waiting` of them are decoded ahead."""
        settings, clip = self._settings, self._clip
        lookahead = CLIP_LOOKAHEAD if settings.fuses(clip.width, clip.height) else None
        restorer = FrameRestorer(self._restorer, settings.restore, lookahead=lookahead, state=state)
        known = min(restorer.context, self.resumed_at)  # finished, but neighbours of what follows
        pending: deque[Frame] = deque()
        with closing(prefetch(self._reader.read(self.resumed_at - known), waiting)) as frames:
            for frame in chain(frames, [None]):
                if frame is not None:
                    pending.append(frame)
                    self._interlaced |= bool(frame.picture.interlaced_frame)
                for done in restorer.flush() if frame is None else restorer.put(frame.pixels):
                    known -= 1
                    own = pending.popleft()
                    if known < 0:
                        yield _finished(own, done, settings.restore.strength)

    def _counted(self, finished: Iterable[FinishedFrame]) -> Iterator[FinishedFrame]:
        """Yield the frames and tell of each once the next one is asked for: it is encoded then."""
        for done, frame in enumerate(finished, self.resumed_at + 1):
            yield frame
            if self._on_frame:
                self._on_frame(done, max(done, self._clip.frames))


def _finished(frame: Frame, done: RestoredFrame, strength: float) -> FinishedFrame:
    image, score = done.image, np.full(4, np.nan)
    if image.weather is not None:
        now = image.weather
        score = np.array([now.rain, now.snow, now.clear, float(image.passed)])
    pixels = None if image.passed or not strength else image.pixels
    return FinishedFrame(frame, pixels, dict(image.residuals), score, done.state)


def _write_scores(path: Path, clip: Clip, store: SegmentStore, count: int) -> None:
    lines = io.StringIO(newline="")
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(("seconds", "rain", "snow", "clear", "passed"))
    for number in range(count):
        times = np.sort(store.times(number, "restored")) * float(clip.time_base)
        for shown, score in zip(times.tolist(), store.scores(number).tolist(), strict=True):
            values = (f"{value:.4f}" for value in score[:3])
            writer.writerow((f"{shown:.6f}", *values, int(score[3])))
    with atomic_file(path, like=[clip.path]) as file:
        file.write(lines.getvalue().encode())
