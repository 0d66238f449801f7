"""The veil estimator of a model: what veil lies over the whole picture (NumPy).

A window of a picture does not tell a bright wall from fog. The estimator sees a thumbnail of the
whole degraded picture and says how much of each place's light came through, and what colour the
veil has; `VeilCorrection` undoes I = t J + (1 - t) A before the network sees its tiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmudrn.errors import InvalidSettingError
from cmudrn.image import Image, Pixels
from cmudrn.image.resampling import SIDE, Area, enlarge, make_thumbnail
from cmudrn.models.info import VEIL_BLOCK, VEIL_MAX_THICKNESS, ModelInfo

Floats = NDArray[np.float32]

MIN_GAIN_EXCESS = 1 / 256
"""Gain less 1 that is worth applying."""
BLACKER_THAN_BLACK = -0.02
"""A veil lights every pixel, so that without it none is darker than black, but for small errors."""
MAX_BLACKER = 0.01
"""Share of the thumbnail that may come out darker. Of a denser veil, a part is taken off."""
DENSE_GAIN = 1.1
"""Mean 1 / t from which on a veil is dense. Thinner ones are often the scene's own mist."""
BISECTIONS = 7
"""Halvings in the search for how thin: to a hundredth of the estimate."""


@dataclass(frozen=True)
class VeilCorrection:
    """What takes the veil off a picture, as a context branch judged it.

    Attributes:
        gain: (h, w) float32, 1 / t at the middle of each cell of a coarse grid; at least 1.
        airlight: (3,) RGB of the veil in [0, 1].
    """

    gain: Floats
    airlight: Floats

    @property
    def clear(self) -> bool:
        """Whether there is no veil worth the name: pictures in clear air stay as they are."""
        return bool(self.gain.max() < 1 + MIN_GAIN_EXCESS)

    @property
    def dense(self) -> bool:
        """Whether there is so much of it that it is hardly the scene's own mist alone."""
        return bool(self.gain.mean() >= DENSE_GAIN)

    def share_blacker(self, thumbnail: Image) -> float:
        """Return the share of a picture's (SIDE, SIDE, 3) thumbnail that comes out too dark."""
        whole = slice(0, SIDE)
        without = self(thumbnail, (whole, whole), (SIDE, SIDE))
        return float((without.min(-1) < BLACKER_THAN_BLACK).mean())

    def bounded(self, thumbnail: Image) -> VeilCorrection:
        """Return the densest part of this veil that can lie over a picture with this thumbnail.

        As t is at least 1 - I / A in He et al. (2009), but for a few of the darkest places.
        """
        if self.clear or self.share_blacker(thumbnail) <= MAX_BLACKER:
            return self
        possible, too_dense = 0.0, 1.0
        for _ in range(BISECTIONS):
            middle = (possible + too_dense) / 2
            if self._thinned(middle).share_blacker(thumbnail) <= MAX_BLACKER:
                possible = middle
            else:
                too_dense = middle
        return self._thinned(possible)

    def _thinned(self, part: float) -> VeilCorrection:
        """Return the correction of a veil that has this part, 0 to 1, of the thickness."""
        return VeilCorrection(self.gain ** np.float32(part), self.airlight)

    def __call__(self, window: Image, area: Area, shape: tuple[int, int]) -> Image:
        """Return a window of a picture without the veil: A + (I - A) / t, not clipped.

        Args:
            window: (h, w, 3) RGB in [0, 1].
            area: its rows and columns in the picture.
            shape: (H, W) of the picture.
        """
        if self.clear:
            return window
        gain = enlarge(self.gain, area, shape)
        planes = np.empty((3, *window.shape[:2]), np.float32)  # as batches want them
        for channel, (plane, light) in enumerate(zip(planes, self.airlight, strict=True)):
            np.subtract(window[..., channel], light, out=plane)
            plane *= gain
            plane += light
        return planes.transpose(1, 2, 0)


@dataclass(frozen=True)
class VeilEstimator:
    """A context branch ready to run; mirrors `cmudrn.networks.veil_estimator.VeilEstimatorNetwork`.

    Attributes:
        weights: name in the branch's state dict -> float32 array.
    """

    weights: Mapping[str, Floats]

    @property
    def parameters(self) -> int:
        """How many numbers were learned."""
        return sum(array.size for array in self.weights.values())

    def __call__(self, picture: Pixels) -> VeilCorrection:
        """Return what takes the veil off an (H, W, 3) or (H, W) picture of any pixel type.

        It takes no more than would turn much of the picture blacker than black.
        """
        thumbnail = make_thumbnail(picture)
        return self.estimate_both_ways(thumbnail).bounded(thumbnail)

    def estimate_both_ways(self, thumbnail: Image) -> VeilCorrection:
        """Return the mean of what is judged of a thumbnail and of its mirror image, not bounded."""
        one = self.estimate_veil(thumbnail)
        other = self.estimate_veil(np.ascontiguousarray(thumbnail[:, ::-1]))
        gain = np.sqrt(one.gain * other.gain[:, ::-1])
        return VeilCorrection(gain, (one.airlight + other.airlight) / np.float32(2))

    def estimate_veil(self, thumbnail: Image) -> VeilCorrection:
        """Return what takes it off the picture that a thumbnail, (SIDE, SIDE, 3), was made of."""
        bands = thumbnail.reshape(SIDE // VEIL_BLOCK, VEIL_BLOCK, SIDE, 3)
        # Rows first, which are long: both sides of small blocks at once are seven times as slow.
        seen = [
            reduce(
                reduce(bands, 1).reshape(SIDE // VEIL_BLOCK, SIDE // VEIL_BLOCK, VEIL_BLOCK, 3), 2
            )
            for reduce in (np.mean, np.min, np.max)
        ]
        h = np.concatenate(seen, -1).transpose(2, 0, 1) - np.float32(0.5)
        h = _relu(self._convolve(h, "enter", 2))
        h = _relu(self._convolve(h, "reduce", 2))
        h = h + _relu(self._convolve(h, "look", 1))
        whole = np.concatenate([h.mean((1, 2)), h.max((1, 2))])
        whole = _relu(self._apply(whole, "gather"))
        h = _relu(self._convolve(h, "judge", 1) + self._apply(whole, "spread")[:, None, None])
        thickness = np.logaddexp(np.float32(0), self._convolve(h, "thickness", 1)[0])
        thickness *= _sigmoid(self._apply(whole, "gate"))
        airlight = _sigmoid(self._apply(whole, "airlight"))
        return VeilCorrection(np.exp(np.minimum(thickness, VEIL_MAX_THICKNESS)), airlight)

    def _apply(self, values: Floats, layer: str) -> Floats:
        done: Floats = self.weights[f"{layer}.weight"] @ values + self.weights[f"{layer}.bias"]
        return done

    def _convolve(self, h: Floats, layer: str, stride: int) -> Floats:
        weight, bias = self.weights[f"{layer}.weight"], self.weights[f"{layer}.bias"]
        margin = weight.shape[2] // 2
        padded = np.pad(h, ((0, 0), (margin, margin), (margin, margin)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], (1, 2))
        sums = np.tensordot(weight, windows[:, ::stride, ::stride], ((1, 2, 3), (0, 3, 4)))
        done: Floats = sums + bias[:, None, None]
        return done


def check_dehazing(info: ModelInfo) -> None:
    """Refuse a model that has no veil estimator.

    Raises:
        InvalidSettingError: it has none.
    """
    if not info.veil_weights:
        raise InvalidSettingError(
            f"The model {info.name} has no veil estimator; dehazing needs one.",
            setting="dehazing",
            value=True,
        )


def _relu(values: Floats) -> Floats:
    return np.maximum(values, np.float32(0))


def _sigmoid(values: Floats) -> Floats:
    return np.float32(1) / (np.float32(1) + np.exp(-values))
