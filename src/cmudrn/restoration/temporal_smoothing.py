"""The veil over a video, held steady: flakes change from frame to frame, the air does not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cmudrn.restoration.dehazing import VeilCorrection

MEMORY = 0.9
"""How much of the veil so far stays in the next frame's."""
SCENE_CHANGE_THRESHOLD = 0.15
"""Mean change of -log t that is no flicker but another scene."""

NOTHING = np.empty(0)


class VeilSmoother:
    """Follows what a context branch judges of one frame after another.

    Thickness and airlight are running means; a frame that is judged quite differently begins anew.
    Each frame depends on those before it alone, so a stream is not held up.

    Args:
        state: as another one of this class left it; empty before the first frame.

    Attributes:
        state: what has to be remembered for the next frame, as numbers.
    """

    def __init__(self, state: NDArray[np.float64] = NOTHING) -> None:
        self.state = state

    def __call__(self, lift: VeilCorrection | None) -> VeilCorrection | None:
        """Return what takes the veil off the next frame, from what it was judged to be by itself.

        Args:
            lift: None, where the model has no context branch, is handed back.
        """
        if lift is None:
            return None
        now = np.concatenate([np.log(lift.gain).ravel(), lift.airlight]).astype(np.float64)
        cells = lift.gain.size
        if not self.state.size or np.abs(now - self.state)[:cells].mean() > SCENE_CHANGE_THRESHOLD:
            self.state = now
        else:
            self.state = MEMORY * self.state + (1 - MEMORY) * now
        gain = np.exp(self.state[:cells]).reshape(lift.gain.shape)
        return VeilCorrection(gain.astype(np.float32), self.state[cells:].astype(np.float32))
