"""A restorer that chooses stages and recursions so that a picture takes a given time."""

from __future__ import annotations

from dataclasses import replace

from cmudrn.engines.profile import Choice, OpenWith, Profile, pick_depth
from cmudrn.image import Pixels
from cmudrn.restoration.restorer import Restorer
from cmudrn.restoration.settings import RestoreSettings


class BudgetRestorer(Restorer):
    """Restores each picture as deeply as its budget of time allows.

    Args:
        open_with: opens the engine with a number of threads.
        profile: how long the model takes here; from `cmudrn bench`.
        budget_ms: milliseconds for the network on one picture; reading and writing come on top.
        change_gating: see `Restorer`.
    """

    def __init__(
        self,
        open_with: OpenWith,
        profile: Profile,
        budget_ms: float,
        *,
        change_gating: bool = True,
    ) -> None:
        self._open_with, self._profile, self.budget_ms = open_with, profile, budget_ms
        self._engines = {max(profile.costs): open_with(max(profile.costs))}
        super().__init__(self._engines[max(profile.costs)], change_gating=change_gating)

    def choose(self, array: Pixels) -> Choice:
        """Return the depth and threads for a picture (H, W, 3) or (H, W)."""
        pixels = sum(tile.pixels for tile in self.tiles(*array.shape[:2]))
        return pick_depth(self._profile, self.info, pixels, self.budget_ms)

    def choose_depth(self, image: Pixels, settings: RestoreSettings) -> RestoreSettings:
        """Return the settings at the depth that fits the budget; also takes its engine."""
        choice = self.choose(image)
        if choice.threads not in self._engines:
            self._engines[choice.threads] = self._open_with(choice.threads)
        self.engine = self._engines[choice.threads]
        return replace(settings, stages=choice.stages, recursions=choice.recursions)
