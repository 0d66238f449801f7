"""Which network runs, and with what: the choice of a command line, opened."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cmudrn.cli.terminal import complain, verbosity

if TYPE_CHECKING:
    from cmudrn.photos import Provenance
    from cmudrn.restoration import Restorer


@dataclass(frozen=True)
class Network:
    """What a command line asks for; see `cmudrn.load` and `BudgetRestorer`."""

    model: str
    engine: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    budget_ms: float | None = None
    device: str = "cpu"

    def open(self, change_gating: bool) -> Restorer:
        """Return a restorer.

        Raises:
            CmudrnError: there is no such model or engine, or no profile for a budget.
        """
        import cmudrn

        if self.budget_ms is None:
            restorer = cmudrn.load(
                self.model,
                engine=self.engine,
                threads=self.threads,
                precision=self.precision,
                device=self.device,
                change_gating=change_gating,
            )
        else:
            restorer = self._open_within(self.budget_ms, change_gating)
        if verbosity() > 0:
            kind = type(restorer.engine).__name__.removesuffix("Engine")
            precision = getattr(restorer.engine, "precision", "fp32")
            where = getattr(restorer.engine, "device", "cpu")
            kind += "" if where == "cpu" else f" ({where})"
            complain(f"The model {restorer.info.name} runs on {kind} in {precision}.")
        return restorer

    def _open_within(self, budget_ms: float, change_gating: bool) -> Restorer:
        from cmudrn.engines import open_engine
        from cmudrn.restoration.profile import load_profile
        from cmudrn.restoration.time_budget import BudgetRestorer, EngineOpener

        info = open_engine(self.model, self.engine, 1, self.precision).info
        profile = load_profile(info, f"{self.engine} {self.precision}")
        opener = EngineOpener(self.model, self.engine, self.precision)
        return BudgetRestorer(opener, profile, budget_ms, change_gating=change_gating)

    def provenance(self) -> Provenance:
        """Return what a record says of the choice."""
        from cmudrn.photos import Provenance

        return Provenance(self.model, self.engine, self.threads, tuple(sys.argv[1:]))
