"""How restored frames are encoded: the codec, its quality, how pixels are stored."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av

from cmudrn.engines.native import instruction_sets
from cmudrn.errors import InvalidSettingError, TargetError
from cmudrn.video.colour import FULL, LIMITED, Colours, colours_as
from cmudrn.video.decode import Clip
from cmudrn.video.hdr import UNKNOWN, Mastering
from cmudrn.video.pixel_formats import nearest_format

SEGMENT_FRAMES = 48
"""Frames of a segment; each begins with a key frame and needs no other segment."""

_PLAYABLE = {
    "mpegts": ("h264", "hevc", "mpeg2"),
    "mpeg": ("mpeg2",),
    "vob": ("mpeg2",),
    "flv": ("h264",),
    "asf": ("h264", "hevc", "vp9", "av1", "ffv1"),
}
"""Containers that would take more than players, FFmpeg's own among them, find again in them.

A program stream holds a time for every frame of MPEG-2 only.
"""

_WITHOUT_REORDERING = ("avi", "asf")
"""Containers that store one time a packet: frames are decoded in the order they are shown."""

ENCODER_THREADS = 4
"""The same on every machine: encoders give other bytes with other numbers of threads."""


@dataclass(frozen=True)
class Codec:
    """An encoder and how it is asked for a quality.

    Attributes:
        encoder: FFmpeg's name.
        quality: its usual quality here, or None where it has no such setting.
        options: what else it is told.
        fixed_rate: whether its frames are numbered at a constant rate; it stores no other times.
    """

    encoder: str
    quality: int | None
    options: Mapping[str, str]
    fixed_rate: bool = False


CODECS: dict[str, Codec] = {
    "h264": Codec("libx264", 16, {"preset": "medium"}),
    "hevc": Codec("libx265", 18, {"preset": "medium", "x265-params": "log-level=none"}),
    "vp9": Codec("libvpx-vp9", 22, {"b": "0", "row-mt": "1", "cpu-used": "3"}),
    "av1": Codec("libsvtav1", 22, {"preset": "8"}),
    "ffv1": Codec("ffv1", None, {}),
    "prores": Codec("prores_ks", None, {}),
    "mpeg2": Codec("mpeg2video", 2, {}, fixed_rate=True),
}
"""Codecs by name. Qualities are near what the eye can tell from the original."""

_PARAMETERS = {
    "libx264": "x264-params",
    "libx265": "x265-params",
    "libsvtav1": "svtav1-params",
}
"""Encoder -> FFmpeg's name for all of its own options at once."""

_LIMITED_ONLY = ("prores", "mpeg2")
"""Codecs that have no tag for the full range: a player takes any for the limited one."""

FLAG_GLOBAL_HEADER = 1 << 22
LAMBDA = 118
"""FFmpeg's unit of a quantizer scale."""

QUICKTIME = ("mp4", "mov")
"""Containers of the QuickTime family."""

os.environ.setdefault("SVT_LOG", "0")  # the AV1 encoder talks by itself; what it refuses, we say


@dataclass(frozen=True)
class VideoFormat:
    """What a user may choose of the encoding; None is chosen sensibly.

    Attributes:
        codec: one of `CODECS`.
        quality: the encoder's CRF, or quantizer scale: less is better and larger.
        pixel_format: FFmpeg's name.
    """

    codec: str | None = None
    quality: int | None = None
    pixel_format: str | None = None


@dataclass(frozen=True)
class Encoding:
    """Everything an encoder is told.

    Attributes:
        codec: one of `CODECS`.
        quality: CRF or quantizer scale, or None.
        pixel_format: FFmpeg's name.
        width: pixels.
        height: pixels.
        time_base: seconds.
        rate: frames a second on average.
        colours: tags.
        aspect: of a pixel.
        global_header: whether the container keeps the codec's header for itself.
        container: FFmpeg's name.
        mastering: display and light of a clip of high dynamic range.
    """

    codec: str
    quality: int | None
    pixel_format: str
    width: int
    height: int
    time_base: Fraction
    rate: Fraction
    colours: Colours
    aspect: Fraction
    global_header: bool
    container: str
    mastering: Mastering = UNKNOWN

    @property
    def reorders(self) -> bool:
        """Whether the container can hold frames in another order than they are shown."""
        return self.container not in _WITHOUT_REORDERING

    @property
    def options(self) -> dict[str, str]:
        """The encoder's own options."""
        codec = CODECS[self.codec]
        crf = self.quality is not None and not codec.fixed_rate
        chosen = {"crf": str(self.quality)} if crf else {}
        own = self._x264_options() if codec.encoder == "libx264" else []
        if own := own + self.mastering.options(codec.encoder):
            name = _PARAMETERS[codec.encoder]
            usual = codec.options.get(name)
            chosen[name] = ":".join([usual, *own] if usual else own)
        return {**codec.options, **chosen}

    def _x264_options(self) -> list[str]:
        options = []
        # With AVX-512, x264 reads memory that it never wrote: the same frames give other bytes.
        if "avx512" in instruction_sets():
            options.append("asm=AVX2")
        # FFmpeg 8 reads H.264 without times of showing one frame late, unless the stream itself
        # says how long a frame waits; a rate far above any in use limits nothing.
        if not self.reorders:
            options.append("nal-hrd=vbr:vbv-maxrate=1000000:vbv-bufsize=1000000")
        return options

    @property
    def codec_tag(self) -> str | None:
        """The four characters by which a container names the codec; None is the usual ones."""
        # Apple's players take no HEVC under FFmpeg's usual name, hev1.
        return "hvc1" if self.codec == "hevc" and self.container in QUICKTIME else None

    @property
    def encoder_time_base(self) -> Fraction:
        """The unit of the times that the encoder is given, seconds."""
        return 1 / self.rate if CODECS[self.codec].fixed_rate else self.time_base

    def configure(self, context: Any) -> None:
        """Set up an encoder that is not open yet."""
        context.width, context.height = self.width, self.height
        context.pix_fmt = self.pixel_format
        context.time_base, context.framerate = self.encoder_time_base, self.rate
        context.gop_size = SEGMENT_FRAMES
        context.thread_count = ENCODER_THREADS
        if not self.reorders:
            context.max_b_frames = 0
        context.sample_aspect_ratio = self.aspect
        context.colorspace, context.color_range = self.colours.matrix, self.colours.range
        context.color_primaries = self.colours.primaries
        context.color_trc = self.colours.transfer
        if self.global_header:
            context.flags |= FLAG_GLOBAL_HEADER
        if CODECS[self.codec].fixed_rate and self.quality is not None:
            context.qscale, context.global_quality = True, self.quality * LAMBDA
        context.options = self.options

    def open_encoder(self) -> Any:
        """Return a fresh encoder."""
        context = av.CodecContext.create(CODECS[self.codec].encoder, "w")
        self.configure(context)
        return context

    def check(self) -> None:
        """Open an encoder and close it again: only then it says what it does not take.

        Raises:
            InvalidSettingError: it takes no frames of this size stored like this, or not this
                quality.
        """
        if _opens(self):
            return
        usual = replace(self, quality=CODECS[self.codec].quality)
        if usual != self and _opens(usual):
            raise InvalidSettingError(
                f"The codec {self.codec} does not take the quality {self.quality}.",
                setting="quality",
                value=self.quality,
            )
        rate = f" at {self.rate} a second" if CODECS[self.codec].fixed_rate else ""
        raise InvalidSettingError(
            f"The codec {self.codec} does not take {self.width}x{self.height} frames "
            f"stored as {self.pixel_format}{rate}.",
            setting="codec",
            value=self.codec,
        )


def _opens(encoding: Encoding) -> bool:
    try:
        encoding.open_encoder().open()
    except (av.FFmpegError, ValueError):
        return False
    return True


def choose_encoding(clip: Clip, target: Path, asked: VideoFormat, width: int) -> Encoding:
    """Return how a clip's restored frames are encoded for a file.

    The codec is the clip's own where this program encodes it and the container takes it.

    Args:
        clip: the source.
        target: its suffix says which container it is.
        asked: what the user chose.
        width: of the frames, pixels.

    Raises:
        InvalidSettingError: there is no such codec, or it has no such quality or pixel format.
        TargetError: the container does not exist, or does not take the codec.
    """
    codec, global_header = _choose_codec(clip, target, asked.codec)
    usual = CODECS[codec].quality
    if asked.quality is not None and usual is None:
        raise InvalidSettingError(
            f"The codec {codec} has no quality to choose.", setting="quality", value=asked.quality
        )
    pixels = _choose_pixels(clip, codec, asked.pixel_format, width)
    colours = colours_as(clip.colours, clip.pixel_format, pixels, clip.height)
    if codec in _LIMITED_ONLY and colours.range == FULL:
        colours = replace(colours, range=LIMITED)
    return Encoding(
        codec=codec,
        quality=usual if asked.quality is None else asked.quality,
        pixel_format=pixels,
        width=width,
        height=clip.height,
        time_base=clip.time_base,
        rate=clip.rate,
        colours=colours,
        aspect=clip.aspect,
        global_header=global_header,
        container=container_format(target),
        mastering=clip.mastering,
    )


def check_codec(name: str) -> None:
    """Refuse a codec that there is not.

    Raises:
        InvalidSettingError: it is none of `CODECS`.
    """
    if name not in CODECS:
        raise InvalidSettingError(
            f"There is no codec {name!r}; there are {', '.join(CODECS)}.",
            setting="codec",
            value=name,
        )


def _choose_codec(clip: Clip, target: Path, asked: str | None) -> tuple[str, bool]:
    if asked is not None:
        check_codec(asked)
    candidates = [asked] if asked else [clip.codec, "h264", "vp9", "mpeg2", "ffv1"]
    try:
        for name in candidates:
            if name not in CODECS or name not in _PLAYABLE.get(container_format(target), CODECS):
                continue
            if (global_header := _taken(target, CODECS[name])) is not None:
                return name, global_header
    except (ValueError, av.FFmpegError) as error:
        raise TargetError(f"{target} has no suffix of a video file.", path=target) from error
    raise TargetError(
        f"{target}: a {target.suffix} file does not take {asked}."
        if asked
        else f"{target}: a {target.suffix} file takes none of {', '.join(CODECS)}; "
        "choose another suffix.",
        path=target,
    )


def _taken(target: Path, codec: Codec) -> bool | None:
    """Return whether a container wants global headers, or None where it refuses the codec."""
    with av.open(BytesIO(), "w", format=container_format(target)) as container:
        try:
            stream = container.add_stream(codec.encoder, rate=25)
            stream.width, stream.height = 64, 64
            stream.pix_fmt = _stored_by(codec)[0]
            stream.codec_context.options = dict(codec.options)
            container.start_encoding()  # some containers say only now what they refuse
        except (ValueError, av.error.ArgumentError):
            return None
        return bool(stream.codec_context.flags & FLAG_GLOBAL_HEADER)


def container_format(target: Path) -> str:
    """Return FFmpeg's name of the container that a suffix stands for."""
    names = {
        "mkv": "matroska", "ts": "mpegts", "mts": "mpegts", "m2ts": "mpegts", "m4v": "mp4",
        "mpg": "mpeg", "mpeg": "mpeg", "wmv": "asf", "ogv": "ogg", "qt": "mov", "m2t": "mpegts",
    }  # fmt: skip
    suffix = target.suffix.lower().lstrip(".")
    return names.get(suffix, suffix)


def _stored_by(codec: Codec) -> list[str]:
    """Return FFmpeg's names of the pixel formats that an encoder takes."""
    return [form.name for form in av.Codec(codec.encoder, "w").video_formats or ()]


def _choose_pixels(clip: Clip, codec: str, asked: str | None, width: int) -> str:
    taken = _stored_by(CODECS[codec])
    if asked is not None:
        if asked not in taken:
            raise InvalidSettingError(
                f"The codec {codec} does not store {asked}; it stores {', '.join(taken)}.",
                setting="pixel_format",
                value=asked,
            )
        return asked
    odd = bool(width % 2 or clip.height % 2)
    return nearest_format(clip.pixel_format, codec, taken, odd=odd)
