"""What a caller may ask of a restoration, and what it gets: the same for every way in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from numbers import Real
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cmudrn.errors import InvalidSettingError
from cmudrn.image import Image, Pixels
from cmudrn.models.info import ModelInfo, check_depth
from cmudrn.restoration.changed import warn_of_change
from cmudrn.restoration.dehazing import VeilCorrection, check_dehazing
from cmudrn.restoration.temporal_smoothing import VeilSmoother
from cmudrn.restoration.weather_classifier import WeatherScore, check_scorable

Settings = TypeVar("Settings")

TOLD_OF_HAZE = "The haze of the weather was taken off, too."
SCORE_MEMORY = 0.8
"""Weight of the running weather score in the next frame's, in a sequence."""


@dataclass(frozen=True)
class RestoreSettings:
    """How an image is restored.

    Attributes:
        strength: 0 returns the input exactly, 1 the network's answer, between them a mix.
        stages: T, outer recursions; None is the model's own.
        recursions: S, inner recursions; None is the model's own.
        layers: also return each branch's estimate and residual.
        score: also return the weather score.
        gate: return an image as it is where the weather score says clear.
        dehazing: also take the haze off, which only models with a veil estimator can. None is where
            much weather falls, if the model can, and not in clips and streams.

    Raises:
        InvalidSettingError: the strength is not a number from 0 to 1.
    """

    strength: float = 1.0
    stages: int | None = None
    recursions: int | None = None
    layers: bool = False
    score: bool = False
    gate: bool = False
    dehazing: bool | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.strength, Real) or not 0 <= self.strength <= 1:
            raise InvalidSettingError(
                f"A strength runs from 0 to 1; it is {self.strength}.",
                setting="strength",
                value=self.strength,
            )

    @property
    def scored(self) -> bool:
        """Whether the weather score is needed."""
        return self.gate or self.score


def check_settings(info: ModelInfo, settings: RestoreSettings) -> None:
    """Refuse settings that would fail with every image.

    Raises:
        InvalidSettingError: the model does not take this depth, or has no veil estimator.
        ModelFileError: it gives no weather score.
    """
    check_depth(info, settings.stages, settings.recursions)
    if settings.scored:
        check_scorable(info)
    if settings.dehazing:
        check_dehazing(info)


def compose(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Return a caller's own settings, made of values for them and for `RestoreSettings`.

    Args:
        kind: a dataclass of settings that has `RestoreSettings` as its field `restore`.
        values: name of a field of either -> its value.

    Raises:
        InvalidSettingError: neither has a field of that name, or the value is none.
    """
    restore = {one.name for one in fields(RestoreSettings)}
    own = {one.name for one in fields(kind)}  # type: ignore[arg-type]
    for name, value in values.items():
        if name not in restore | own:
            known = ", ".join(sorted(restore | own - {"restore"}))
            sentence = f"There is no setting {name!r}; there are {known}."
            raise InvalidSettingError(sentence, setting=name, value=value)
    given = {name: value for name, value in values.items() if name in own}
    core = {name: value for name, value in values.items() if name in restore}
    if core:
        given["restore"] = replace(given.get("restore", RestoreSettings()), **core)
    return kind(**given)


@dataclass(frozen=True)
class RestoredImage:
    """A restored image and what is known about it.

    Attributes:
        pixels: shape and type of the input, at the strength that was asked for; the input itself
            where `passed`.
        branches: task -> (H, W, 3) float32 RGB, each branch's own estimate, not clipped; empty
            unless `RestoreSettings.layers`.
        residuals: task, and "fused" -> (H, W, 3) float32, degraded minus estimate at full strength
            and without change gating: positive where light was taken away, as from rain and snow;
            empty unless `RestoreSettings.layers`.
        weather: the image's own weather score; None unless it was asked for.
        passed: whether the gate returned the input.
        dehazed: whether haze was taken off.
        changed: share of the pixels that were changed strongly: a channel by more than 20 of 255.
    """

    pixels: Pixels
    branches: Mapping[str, Image] = field(default_factory=dict)
    residuals: Mapping[str, Image] = field(default_factory=dict)
    weather: WeatherScore | None = None
    passed: bool = False
    dehazed: bool = False
    changed: float = 0.0

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences where haze was taken off, and where much was changed: a look is needed."""
        haze = (TOLD_OF_HAZE,) if self.dehazed else ()
        return (*haze, *warn_of_change(self.changed))


class Sequence:
    """What lasts from frame to frame of a clip or a stream: veil and weather score, smoothed.

    Each frame depends on those before it alone, so a stream is not delayed. A `Sequence` belongs
    to one clip or stream; single images go without.

    Args:
        state: as `state` of another one; empty before the first frame.

    Attributes:
        correction: what took the veil off the last frame; None where the model estimates none.

    Example:
        >>> sequence = Sequence()
        >>> sequence.state.tolist()
        [nan, nan, nan]
    """

    def __init__(self, state: NDArray[np.float64] | None = None) -> None:
        known = np.full(3, np.nan) if state is None else state
        self._score = known[:3]
        self._veil = VeilSmoother(known[3:])
        self.correction: VeilCorrection | None = None

    @property
    def state(self) -> NDArray[np.float64]:
        """What has to be remembered for the next frame, as numbers."""
        return np.concatenate([self._score, self._veil.state])

    def smooth_veil(self, correction: VeilCorrection | None) -> VeilCorrection | None:
        """Return what takes the veil off the next frame; see `VeilSmoother`."""
        self.correction = self._veil(correction)
        return self.correction

    def smooth_score(self, score: WeatherScore) -> WeatherScore:
        """Return the running mean of the weather scores up to this frame's."""
        now = np.array([score.rain, score.snow, score.clear])
        first = bool(np.isnan(self._score).any())
        self._score = now if first else SCORE_MEMORY * self._score + (1 - SCORE_MEMORY) * now
        return WeatherScore(*(float(value) for value in self._score))
