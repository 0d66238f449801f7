"""The frames of one clip or stream restored one after another, each with its neighbours in time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cmudrn.errors import InvalidSettingError
from cmudrn.image import Pixels, from_float, to_float, to_rgb
from cmudrn.restoration.frame_window import LONGEST, FrameWindow
from cmudrn.restoration.restorer import PLAIN, Restorer, restore_image
from cmudrn.restoration.settings import RestoredImage, RestoreSettings, Sequence

CLIP_LOOKAHEAD = 4
"""Later frames that a frame of a clip is fused with; as many before it."""
MAX_LOOKAHEAD = CLIP_LOOKAHEAD


@dataclass(frozen=True)
class RestoredFrame:
    """A restored frame of a sequence.

    Attributes:
        image: as of `restore_image`.
        state: of the `Sequence`, as it has to be where the run is resumed after this frame.
    """

    image: RestoredImage
    state: NDArray[np.float64]


class FrameRestorer:
    """Restores frames of one clip or stream; keeps what lasts from frame to frame.

    Args:
        restorer: the model and how it is run.
        settings: for every frame.
        lookahead: later frames that each frame is fused with, 0 to 4; it comes out as many frames
            late. None restores each frame by itself.
        state: of a run that is resumed, from `RestoredFrame.state`.

    Raises:
        InvalidSettingError: there is no such lookahead.

    Example:
        >>> import cmudrn, numpy as np
        >>> frames = FrameRestorer(cmudrn.load("drn-rain"), lookahead=0)
        >>> [done.image.pixels.shape for done in frames.put(np.zeros((8, 8, 3), np.uint8))]
        [(8, 8, 3)]
    """

    def __init__(
        self,
        restorer: Restorer,
        settings: RestoreSettings = PLAIN,
        *,
        lookahead: int | None = None,
        state: NDArray[np.float64] | None = None,
    ) -> None:
        if lookahead is not None and not 0 <= lookahead <= MAX_LOOKAHEAD:
            raise InvalidSettingError(
                f"A lookahead is 0 to {MAX_LOOKAHEAD} frames; it is {lookahead}.",
                setting="lookahead",
                value=lookahead,
            )
        self._restorer, self._settings = restorer, settings
        # A strength of 0 returns the input exactly.
        fused = lookahead is not None and settings.strength > 0
        self._window = FrameWindow(lookahead or 0) if fused else None
        self._sequence = Sequence(state)
        self._states = deque([self._sequence.state], maxlen=self.context + 1)
        self._pending: deque[tuple[Pixels, RestoredFrame]] = deque()

    @property
    def context(self) -> int:
        """Frames before the next one that a resumed run has to restore again, if there are any."""
        return LONGEST - 1 if self._window else 0

    def put(self, pixels: Pixels) -> list[RestoredFrame]:
        """Take the next frame and return those that are finished, in order.

        Args:
            pixels: as for `restore_image`; a frame of another size begins a new scene.

        Raises:
            CmudrnError: as `restore_image`.
        """
        window = self._window
        whole = replace(self._settings, strength=1.0) if window else self._settings
        done = restore_image(self._restorer, pixels, whole, sequence=self._sequence)
        self._states.append(self._sequence.state)
        frame = RestoredFrame(done, self._states[0])
        if window is None:
            return [frame]
        finished = [] if window.takes(pixels) else self.flush()
        self._pending.append((pixels, frame))
        return finished + self._finish(window.put(self._without_veil(pixels), done.pixels))

    def _without_veil(self, pixels: Pixels) -> Pixels:
        """Return a raw frame without the veil that was taken off it: fusion would bring it back."""
        correction = self._sequence.correction
        if correction is None or correction.clear:
            return pixels
        height, width = pixels.shape[:2]
        area = slice(0, height), slice(0, width)
        lifted = correction(to_rgb(to_float(pixels)), area, (height, width))
        return from_float(lifted if pixels.ndim == 3 else lifted.mean(-1), pixels.dtype)

    def flush(self) -> list[RestoredFrame]:
        """Return the frames that waited for later ones: there are none."""
        return self._finish(self._window.flush()) if self._window else []

    def _finish(self, fused: list[Pixels | None]) -> list[RestoredFrame]:
        finished = []
        for pixels in fused:
            raw, frame = self._pending.popleft()
            image = frame.image
            if pixels is not None and not image.passed:
                image = _with_pixels(image, pixels)
            if self._settings.strength < 1 and not image.passed:
                image = replace(image, pixels=_mix(raw, image.pixels, self._settings.strength))
            finished.append(replace(frame, image=image))
        return finished


def _with_pixels(image: RestoredImage, fused: Pixels) -> RestoredImage:
    """Return a restored image after fusion: what that changed belongs to the residual."""
    residuals = dict(image.residuals)
    if "fused" in residuals:
        change = to_rgb(to_float(image.pixels) - to_float(fused))
        residuals["fused"] = residuals["fused"] + change
    return replace(image, pixels=fused, residuals=residuals)


def _mix(raw: Pixels, restored: Pixels, strength: float) -> Pixels:
    one, other = to_float(raw), to_float(restored)
    mixed = one + np.float32(strength) * (other - one)
    return mixed if raw.dtype == np.float32 else from_float(mixed, raw.dtype)
