"""A restorer that chooses stages and recursions so that a picture takes a given time."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cmudrn.engines import Engine, open_engine
from cmudrn.image import Pixels
from cmudrn.restoration.profile import Choice, OpenWith, Profile, pick_depth
from cmudrn.restoration.restorer import Restorer
from cmudrn.restoration.settings import RestoreSettings


@dataclass(frozen=True)
class EngineOpener:
    """Opens an engine with a number of threads; see `open_engine`. It can be pickled."""

    model: str
    engine: str = "auto"
    precision: str = "auto"

    def __call__(self, threads: int) -> Engine:
        """Return the engine.

        Raises:
            CmudrnError: as `open_engine`.
        """
        return open_engine(self.model, self.engine, threads, self.precision)


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

    def __reduce__(self) -> tuple[object, ...]:
        # The engines are opened again: what they hold lies outside Python.
        arguments = (self._open_with, self._profile, self.budget_ms)
        return _open_again, (*arguments, self.change_gating)

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


def _open_again(
    open_with: OpenWith, profile: Profile, budget_ms: float, change_gating: bool
) -> BudgetRestorer:
    return BudgetRestorer(open_with, profile, budget_ms, change_gating=change_gating)
