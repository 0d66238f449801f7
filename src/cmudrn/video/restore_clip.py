"""A clip from decoding to the joined result, each step running ahead of the next."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

import cmudrn
from cmudrn.errors import CmudrnError
from cmudrn.files import atomic_file, check_target
from cmudrn.image import Image, Pixels
from cmudrn.models.info import check_depth
from cmudrn.photos.restore_photo import encode_layer, make_folder
from cmudrn.restoration import Restorer, RestoreSettings, Sequence, restore_image
from cmudrn.restoration.weather_classifier import check_scorable
from cmudrn.video.colour import colours_of, tag, to_frame
from cmudrn.video.decode import Clip, Frame, check_integrity, probe, read_frames
from cmudrn.video.encode import PART_FRAMES, Encoding, VideoFormat, choose_encoding
from cmudrn.video.mux import join_parts
from cmudrn.video.prefetch import ahead
from cmudrn.video.segments import Encoded, Part, PartsFolder, stamp

OnFrame = Callable[[int, int], None]
"""Called with the number of frames done and of all frames; may raise to stop the work."""


@dataclass(frozen=True)
class VideoOptions:
    """What all clips of a run have in common.

    Attributes:
        restorer: does the work.
        strength: see `Restorer`.
        stages: see `Restorer`.
        recursions: see `Restorer`.
        layers: also write what each branch and the fusion removed, as clips of their own.
        side_by_side: put the source at the left of the result.
        gate: leave frames as they are whose weather score says clear.
        score: write each frame's weather score beside the result.
        overwrite: replace files that are there.
        format: of the result.
    """

    restorer: Restorer
    strength: float = 1.0
    stages: int | None = None
    recursions: int | None = None
    layers: bool = False
    side_by_side: bool = False
    gate: bool = False
    score: bool = False
    overwrite: bool = False
    format: VideoFormat = field(default_factory=VideoFormat)


@dataclass(frozen=True)
class Done:
    """A frame after the network.

    Attributes:
        frame: as it was read.
        restored: its restoration; None where the gate left it as it is.
        residuals: layer -> (H, W, 3) float32, what was removed.
        score: rain, snow, clear, passed; NaN where no score was asked for.
        state: the running score and the veil up to this frame.
    """

    frame: Frame
    restored: Pixels | None
    residuals: dict[str, Image]
    score: NDArray[np.float64]
    state: NDArray[np.float64]


def restore_video(
    source: Path, target: Path, options: VideoOptions, on_frame: OnFrame | None = None
) -> dict[str, Any]:
    """Restore one video file and return what was done, ready for JSON.

    A run that is stopped, in whatever way, leaves its finished parts in the hidden folder
    `.NAME.parts` beside the target; the same call goes on from there and gives the same file.

    Raises:
        CmudrnError: the clip cannot be read, restored or written.
    """
    start = time.perf_counter()
    tasks = options.restorer.info.tasks
    targets = {"restored": target}
    if options.layers:
        targets |= {name: removed_path(target, name) for name in (*tasks, "fused")}
    sheet = (scores_path(target),) if options.score else ()
    if options.gate or options.score:
        check_scorable(options.restorer.info)
    for path in (*targets.values(), *sheet):
        check_target(source, path, options.overwrite)
    clip = probe(source)
    encodings = _encodings(clip, targets, options)
    for encoding in encodings.values():
        encoding.check()
    make_folder(target.parent)
    parts = PartsFolder(target, make_plan(clip, encodings, options))
    count, frames, resumed = _make_parts(clip, parts, encodings, options, on_frame)
    notes = ["Transparency was left out: the result is opaque."] if clip.alpha else []
    notes += check_integrity(clip, frames)
    for name, path in targets.items():
        notes += join_parts(
            clip, parts, count, name, encodings[name], path, alone=name != "restored"
        )
    scores = np.concatenate([parts.scores(number) for number in range(count)])
    if options.score:
        _write_scores(scores_path(target), clip, parts, count)
    parts.remove()
    seconds = time.perf_counter() - start
    return {
        "input": str(source),
        "output": str(target),
        "ok": True,
        "width": clip.width,
        "height": clip.height,
        "frames": frames,
        "resumed_at": resumed,
        "passed": int(np.nansum(scores[:, 3])),
        "model": options.restorer.info.name,
        "seconds": round(seconds, 3),
        "layers": {name: str(path) for name, path in targets.items() if name != "restored"},
        "notes": notes,
    }


def removed_path(target: Path, name: str) -> Path:
    """Return where the clip of a layer goes."""
    return target.with_name(f"{target.stem}.removed-{name}{target.suffix}")


def scores_path(target: Path) -> Path:
    """Return where the weather scores of a clip go."""
    # With its suffix: clips of one name in other containers keep their own.
    return target.with_name(f"{target.name}.weather.csv")


def _encodings(clip: Clip, targets: dict[str, Path], options: VideoOptions) -> dict[str, Encoding]:
    wide = clip.width * (2 if options.side_by_side else 1)
    return {
        name: choose_encoding(
            clip, path, options.format, wide if name == "restored" else clip.width
        )
        for name, path in targets.items()
    }


def make_plan(
    clip: Clip, encodings: Mapping[str, Encoding], options: VideoOptions
) -> dict[str, Any]:
    """Return everything that decides what the parts hold, ready for JSON."""
    info = options.restorer.info
    settings = {
        name: getattr(options, name)
        for name in ("strength", "side_by_side", "gate", "score", "layers")
    }
    return {
        "source": stamp(clip.path),
        "program": cmudrn.__version__,
        "model": info.sha256 or info.name,
        "engine": _engine(options.restorer),
        "depth": check_depth(info, options.stages, options.recursions),
        "budget_ms": getattr(options.restorer, "budget_ms", None),
        "change_gating": options.restorer.change_gating,
        "part_frames": PART_FRAMES,
        "settings": settings,
        "encodings": {name: asdict(encoding) for name, encoding in encodings.items()},
    }


def _engine(restorer: Restorer) -> list[Any]:
    """Return what of an engine decides its last bits."""
    engine = restorer.engine
    precision = getattr(engine, "precision", "fp32")
    # bfloat16 rounds differently with other threads.
    threads = getattr(engine, "threads", None) if precision == "bf16" else None
    return [type(engine).__name__, getattr(engine, "isa", None), precision, threads]


def _make_parts(
    clip: Clip,
    parts: PartsFolder,
    encodings: dict[str, Encoding],
    options: VideoOptions,
    on_frame: OnFrame | None,
) -> tuple[int, int, int]:
    """Make the parts that are missing; return (parts, frames, frames that were there).

    Raises:
        CmudrnError: the clip cannot be read, restored or encoded, or the parts not written.
    """
    number = there = parts.open()
    done = resumed = sum(len(parts.scores(n)) for n in range(there))
    # Only the last part may be short: then everything is there.
    if resumed % PART_FRAMES:
        return number, done, resumed
    state = parts.state(there - 1) if there else np.full(3, np.nan)
    try:
        # A generator that is closed closes the one it feeds on.
        with closing(ahead(read_frames(clip, skip=resumed))) as frames:  # type: ignore[type-var]
            with closing(ahead(_restored(frames, options, state))) as finished:  # type: ignore[type-var]
                while chunk := _encode_part(islice(finished, PART_FRAMES), encodings, clip):
                    parts.write(number, chunk)
                    number += 1
                    done += len(chunk.scores)
                    if on_frame:
                        on_frame(done, max(done, clip.frames))
        if not number:
            raise CmudrnError(f"{clip.path} holds no frame that can be decoded.")
    except BaseException:
        if not number:  # nothing to go on from
            parts.remove()
        raise
    return number, done, resumed


def _restored(
    frames: Iterable[Frame], options: VideoOptions, state: NDArray[np.float64]
) -> Iterator[Done]:
    settings = RestoreSettings(
        options.strength,
        options.stages,
        options.recursions,
        layers=options.layers,
        score=options.score,
        gate=options.gate,
    )
    sequence = Sequence(state)
    for frame in frames:
        done = restore_image(options.restorer, frame.pixels, settings, sequence=sequence)
        score = np.full(4, np.nan)
        if done.weather is not None:
            now = done.weather
            score = np.array([now.rain, now.snow, now.clear, float(done.passed)])
        restored = None if done.passed else done.pixels
        yield Done(frame, restored, dict(done.residuals), score, sequence.state)


def _encode_part(
    finished: Iterator[Done], encodings: dict[str, Encoding], clip: Clip
) -> Part | None:
    """Return the next frames, encoded; None where there are none left.

    Raises:
        CmudrnError: the encoder refuses them.
    """
    encoders = {name: encoding.open_encoder() for name, encoding in encodings.items()}
    streams: dict[str, list[Encoded]] = {name: [] for name in encodings}
    scores, state = [], np.full(3, np.nan)
    durations: dict[int, int] = {}
    for done in finished:
        durations[done.frame.time] = done.frame.duration
        scores.append(done.score)
        state = done.state
        for name, encoder in encoders.items():
            with _refusals(clip, encodings[name]):
                picture = _picture(done, name, encodings[name])
                picture.pts, picture.time_base = done.frame.time, clip.time_base
                streams[name] += _take(encoder.encode(picture), durations)
    if not scores:
        return None
    for name, encoder in encoders.items():
        with _refusals(clip, encodings[name]):
            streams[name] += _take(encoder.encode(None), durations)
    return Part(streams, np.array(scores), state)


@contextmanager
def _refusals(clip: Clip, encoding: Encoding) -> Iterator[None]:
    """Turn what FFmpeg raises while it encodes into a sentence.

    Raises:
        CmudrnError: it raised.
    """
    try:
        yield
    except av.FFmpegError as error:
        raise CmudrnError(
            f"{clip.path} cannot be encoded as {encoding.codec}: {error.strerror}."
        ) from error


def _take(packets: Iterable[Any], durations: dict[int, int]) -> list[Encoded]:
    return [Encoded(bytes(p), p.pts, durations.get(p.pts, 0), p.is_keyframe) for p in packets]


def _picture(done: Done, name: str, encoding: Encoding) -> Any:
    """Return the frame to encode for one result."""
    before = done.frame.pixels
    if name != "restored":
        return to_frame(encode_layer(done.residuals[name]), encoding.pixel_format, encoding.colours)
    after = before if done.restored is None else done.restored
    if encoding.width != before.shape[1]:
        after = np.concatenate([before, after], axis=1)
    elif done.restored is None and _is_stored_so(done.frame.picture, encoding):
        return tag(done.frame.picture, encoding.colours)  # never went through RGB
    return to_frame(after, encoding.pixel_format, encoding.colours)


def _is_stored_so(picture: Any, encoding: Encoding) -> bool:
    same_range = colours_of(picture).range == encoding.colours.range
    # Restored frames are opaque; one with alpha among them would flicker.
    opaque = not any(part.is_alpha for part in picture.format.components)
    return opaque and same_range and picture.format.name == encoding.pixel_format


def _write_scores(path: Path, clip: Clip, parts: PartsFolder, count: int) -> None:
    rows: list[tuple[object, ...]] = [("seconds", "rain", "snow", "clear", "passed")]
    for number in range(count):
        times = np.sort(parts.times(number, "restored")) * float(clip.time_base)
        for shown, score in zip(times.tolist(), parts.scores(number).tolist(), strict=True):
            rows.append((f"{shown:.6f}", *(f"{value:.4f}" for value in score[:3]), int(score[3])))
    with atomic_file(path) as file:
        lines: list[str] = []
        csv.writer(_Lines(lines), lineterminator="\n").writerows(rows)
        file.write("".join(lines).encode())


class _Lines:
    """What the csv writer wants of a file."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def write(self, line: str) -> int:
        self._lines.append(line)
        return len(line)
