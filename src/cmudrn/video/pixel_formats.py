"""Which pixel format a result gets: that of the clip, or the nearest that its codec stores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import av

LOSSLESS = "ffv1"
"""The codec that RGB stays RGB in; players of the others ask for YUV."""

_LUMA = 64
"""Pixels a side of the frame that subsampling is asked for."""


@dataclass(frozen=True)
class Precision:
    """What a pixel format stores.

    Attributes:
        bits: of a value.
        across: colours in 64 columns.
        down: colours in 64 rows.
    """

    bits: int
    across: int
    down: int


def precision_of(name: str) -> Precision:
    """Return what a pixel format stores, by FFmpeg's name; grey counts as the coarsest colours."""
    form = av.VideoFormat(name)
    bits = 8 if form.has_palette else max(part.bits for part in form.components)
    if len(form.components) < 3 and not form.has_palette:
        return Precision(bits, 1, 1)
    return Precision(bits, form.chroma_width(_LUMA), form.chroma_height(_LUMA))


def lost_of(before: str, after: str) -> str:
    """Return in words what one pixel format stores less of than another; "" is nothing."""
    had, has = precision_of(before), precision_of(after)
    lost = [f"{has.bits} of {had.bits} bits"] if has.bits < had.bits else []
    if has.across < had.across or has.down < had.down:
        lost.append("colours at a lower resolution")
    return ", ".join(lost)


def nearest_format(own: str, codec: str, taken: Sequence[str], *, odd: bool) -> str:
    """Return the pixel format that keeps most of a clip and adds least.

    Args:
        own: the clip's, FFmpeg's name.
        codec: one of `CODECS`.
        taken: pixel formats that its encoder takes.
        odd: whether a side of the frames is odd, so that colours cannot be at half the resolution.
    """
    name = own.replace("yuvj", "yuv").replace("yuva", "yuv")
    if name in taken and (codec == LOSSLESS or not (odd or av.VideoFormat(name).is_rgb)):
        return name
    wanted = precision_of(own)
    finest = [one for one in _candidates(taken, own, codec) if not odd or _is_full(one)]

    def loss(candidate: str) -> tuple[int, int, int, int]:
        has = precision_of(candidate)
        lost = max(0, wanted.bits - has.bits)
        coarser = max(1, wanted.across / has.across) * max(1, wanted.down / has.down)
        return lost > 0, int(4 * coarser), lost, has.bits * has.across * has.down

    return min(finest or taken, key=loss, default="yuv420p")


def _candidates(taken: Iterable[str], own: str, codec: str) -> list[str]:
    """Return planar YUV without alpha; RGB instead where the codec is made for it."""
    rgb = codec == LOSSLESS and (av.VideoFormat(own).is_rgb or av.VideoFormat(own).has_palette)
    starts = ("bgr0", "gbrp") if rgb else ("yuv",)
    barred = ("yuva", "yuvj", "gbrpf")
    return [one for one in taken if one.startswith(starts) and not one.startswith(barred)]


def _is_full(name: str) -> bool:
    has = precision_of(name)
    return has.across == has.down == _LUMA
