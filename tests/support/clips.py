"""Small clips for tests, whose frames and sound encode the time."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

RATE = 48_000
WIDTH, HEIGHT = 64, 48


def uneven_times(seconds: float, fps: float = 25, unit: int = 12_800) -> list[int]:
    """Return frame times in 1/unit s: regular, but for gaps and hurries drawn at random."""
    rng = np.random.default_rng(5)
    steps = unit / fps * rng.choice([0.5, 1, 1, 1, 2, 3.7], int(seconds * fps * 2))
    times = np.concatenate([[0], np.cumsum(steps)]).astype(int)
    return [int(t) for t in times if t < seconds * unit]


def picture(number: int, flash: bool, shape: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """Return a frame that differs from its neighbours; a flash is white."""
    height, width = shape
    if flash:
        return np.full((height, width, 3), 235, np.uint8)
    y, x = np.mgrid[:height, :width]
    red = (x * 3 + number) % 120
    return np.stack([red, (y * 4) % 120, (x + y + 2 * number) % 90], -1).astype(np.uint8)


def make_clip(  # noqa: PLR0913
    path: Path,
    times: list[int],
    *,
    flashes: set[int] = frozenset(),  # type: ignore[assignment]
    unit: int = 12_800,
    extras: bool = True,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    rotation: int | None = None,
    colours: tuple[int, int, int, int] = (1, 1, 1, 1),
    shape: tuple[int, int] = (HEIGHT, WIDTH),
    gop: int | None = None,
) -> Path:
    """Write a clip and return its path.

    Args:
        path: its suffix says which container it is.
        times: of frames, in 1/unit s.
        flashes: numbers of the frames that are white, each with a beep of 40 ms.
        unit: of time.
        extras: also write two sound tracks, subtitles and chapters.
        codec: FFmpeg's name of the encoder.
        pixel_format: FFmpeg's name.
        rotation: of the picture, degrees against the clock.
        colours: matrix, range, primaries and transfer by H.273.
        shape: height and width of a frame.
        gop: frames from one key frame to the next, none in another order; None is the encoder's.
    """
    matrix, span, primaries, transfer = colours
    with av.open(str(path), "w") as output:
        output.metadata.update({"title": "Größe", "artist": "someone"})
        video = output.add_stream(codec, rate=25)
        video.width, video.height, video.pix_fmt = shape[1], shape[0], pixel_format
        video.codec_context.time_base = video.time_base = Fraction(1, unit)
        context = video.codec_context
        context.colorspace, context.color_range = matrix, span
        context.color_primaries, context.color_trc = primaries, transfer
        if codec == "libx264":
            context.options = {"crf": "12", "preset": "veryfast"}
        if gop is not None:
            context.gop_size, context.max_b_frames = gop, 0
        if rotation is not None:
            video.set_display_rotation(rotation)
        end = times[-1] / unit
        tracks = _add_tracks(output, path, end) if extras else None
        output.start_encoding()
        if tracks:
            _write_tracks(output, *tracks, end, [times[n] / unit for n in sorted(flashes)])
        for number, time in enumerate(times):
            pixels = picture(number, number in flashes, shape)
            frame = _frame(pixels, pixel_format, matrix, span)
            frame.pts, frame.time_base = time, Fraction(1, unit)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return path


def _frame(pixels: np.ndarray, pixel_format: str, matrix: int, span: int) -> Any:
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
        format=pixel_format,
        dst_colorspace=5 if matrix == 2 else matrix,
        src_color_range=2,
        dst_color_range=span or 1,
    )
    frame.colorspace, frame.color_range = matrix, span
    return frame


def _add_tracks(output: Any, path: Path, end: float) -> tuple[list[Any], Any]:
    sounds = [_add_sound(output, language) for language in ("eng", "deu")]
    texts = _add_texts(output, path)
    _add_chapters(output, end)
    return sounds, texts


def _write_tracks(
    output: Any, sounds: list[Any], texts: Any, end: float, marks: list[float]
) -> None:
    _write_texts(output, texts, end)
    for pitch, sound in enumerate(sounds):
        _write_sound(output, sound, end, marks, 440 * (pitch + 1))


def _add_chapters(output: Any, end: float) -> None:
    chapters = [(0, end / 2, "One"), (end / 2, end, "Two")]
    output.set_chapters(
        [
            {"id": n, "start": int(start * 1000), "end": int(stop * 1000),
             "time_base": Fraction(1, 1000), "metadata": {"title": title}}
            for n, (start, stop, title) in enumerate(chapters)
        ]
    )  # fmt: skip


def _add_sound(output: Any, language: str) -> Any:
    sound = output.add_stream("aac", rate=RATE, layout="mono")
    sound.metadata["language"] = language
    return sound


def _write_sound(output: Any, sound: Any, seconds: float, marks: list[float], pitch: int) -> None:
    time = np.arange(int(seconds * RATE)) / RATE
    heard = np.zeros(len(time), bool)
    for mark in marks:
        heard |= (time >= mark) & (time < mark + 0.04)
    wave = (0.6 * np.sin(2 * np.pi * pitch * time) * heard).astype(np.float32)
    for start in range(0, len(wave), 1024):
        frame = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
        output.mux(sound.encode(frame))
    output.mux(sound.encode(None))


def _add_texts(output: Any, path: Path) -> Any:
    name = "mov_text" if path.suffix in (".mp4", ".mov", ".m4v") else "subrip"
    texts = output.add_mux_stream(name)
    texts.metadata["language"] = "eng"
    texts.time_base = Fraction(1, 1000)
    return texts


def _write_texts(output: Any, texts: Any, seconds: float) -> None:
    for number in range(int(seconds)):
        words = f"second {number}".encode()
        boxed = output.format.name in ("mp4", "mov")
        packet = av.Packet((len(words).to_bytes(2, "big") if boxed else b"") + words)
        packet.pts = packet.dts = number * 1000
        packet.duration, packet.time_base, packet.stream = 900, Fraction(1, 1000), texts
        output.mux_one(packet)


def frame_times(path: Path) -> list[Fraction]:
    """Return when each frame is shown, in seconds."""
    with av.open(str(path)) as clip:
        return [f.pts * f.time_base for f in clip.decode(video=0)]


def packets_of(path: Path) -> dict[int, list[tuple[bytes, float]]]:
    """Return stream's index -> (data, time) of its packets; the video is left out."""
    found: dict[int, list[tuple[bytes, float]]] = {}
    with av.open(str(path)) as clip:
        for packet in clip.demux():
            if packet.stream.type != "video" and packet.pts is not None:
                entry = (bytes(packet), float(packet.pts * packet.time_base))
                found.setdefault(packet.stream.index, []).append(entry)
    return found


def through_h264(frames: list[np.ndarray], crf: int) -> list[np.ndarray]:
    """Return frames of (H, W, 3) uint8 after they were encoded and decoded."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": str(crf)})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    buffer.seek(0)
    with av.open(buffer) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
