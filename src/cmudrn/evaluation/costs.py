"""What a model costs: learned numbers, multiply-adds, time."""

from __future__ import annotations

from dataclasses import dataclass

from cmudrn.models import ModelInfo
from cmudrn.models.info import check_depth


@dataclass(frozen=True)
class Cost:
    """What a method is known to cost, before it is timed.

    Attributes:
        parameters: how many numbers were learned; None where that is unknown.
        macs: multiply-adds for a pixel at the depth of the call; None likewise.
    """

    parameters: int | None = None
    macs: int | None = None


UNKNOWN_COST = Cost()


def model_cost(info: ModelInfo, stages: int | None = None, recursions: int | None = None) -> Cost:
    """Return what a model costs at a depth; a foreign model file does not say.

    The model's record holds the multiply-adds at its own depth. Each stage adds 81 C + 36 C^2 S of
    them for every branch with its own trunk (C features), the rest does not depend on the depth.

    Raises:
        CmudrnError: the model does not let this depth be chosen.
    """
    t, s = check_depth(info, stages, recursions)
    record = info.metadata
    if "macs_per_pixel" not in record:
        return Cost(info.parameters or None)

    def stage(recursions: int) -> int:
        c, heads = record["features"], len(info.tasks)
        trunks = heads if info.network == "cmudrn" else 1
        conv_out = 27 * c * (1 if info.network == "drn" else heads)
        return int(trunks * (54 * c + 36 * c * c * recursions) + conv_out)

    own = info.stages * stage(info.recursions)
    return Cost(info.parameters, int(record["macs_per_pixel"]) - own + t * stage(s))
