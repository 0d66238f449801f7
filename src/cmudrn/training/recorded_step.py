"""A training step on a CUDA card as one recorded graph.

A step of a recursive network is some thousand kernels of a few microseconds each. Launching them
one by one takes several times as long as computing them. A recorded step is launched at once.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cmudrn.networks.losses import Supervision
from cmudrn.networks.weighted_supervision import WeightedSupervision
from cmudrn.training.config import Config
from cmudrn.training.data.batches import StepBatch

WARM_UP = 3
"""Steps before the recording: libraries choose their kernels and workspaces in the first ones."""


def can_record(config: Config, supervision: Supervision) -> bool:
    """Return whether every step of a run computes the same graph, so that it can be recorded.

    It does not where depths are drawn for every step, where stages are recomputed in the backward
    pass, or where the loss of other authors changes with the steps.
    """
    elastic = config.training.elastic
    fixed = elastic.full == 1 or (elastic.stages is None and elastic.recursions is None)
    known = type(supervision) in (Supervision, WeightedSupervision)
    return fixed and not config.training.checkpoint_stages and known


class RecordedStep:
    """Loss and clipped gradients of a batch; the gradients are left in the parameters' `grad`.

    The recording writes into the same gradient tensors every time: nothing may replace them.

    Args:
        network: on a CUDA device.
        supervision: its `static_shapes` is switched on.
        config: of the run.
        bf16: whether the network computes in bfloat16 under autocast.
        batch: of the shape of all that follow.
    """

    def __init__(
        self,
        network: nn.Module,
        supervision: Supervision,
        config: Config,
        batch: StepBatch,
        *,
        bf16: bool,
    ) -> None:
        self.network, self.supervision, self.bf16 = network, supervision, bf16
        self.clip = config.training.clip or math.inf
        supervision.static_shapes = True
        device = next(network.parameters()).device
        self.degraded = batch.degraded.to(device).contiguous(memory_format=torch.channels_last)
        self.step = torch.zeros((), device=device)
        self.others = [part.to(device) for part in (batch.clean, batch.belongs, batch.whole)]
        torch.backends.cudnn.benchmark = True
        aside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                self._compute()
        torch.cuda.current_stream(device).wait_stream(aside)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.loss, self.norm = self._compute()

    def __call__(self, batch: StepBatch, step: int) -> tuple[Tensor, Tensor]:
        """Return (loss, norm of the gradients before they were clipped), scalars on the card.

        They are overwritten by the next call.

        Args:
            batch: the step's patches.
            step: steps done.
        """
        self.step.fill_(step)
        self.degraded.copy_(batch.degraded)
        for kept, new in zip(self.others, (batch.clean, batch.belongs, batch.whole), strict=True):
            kept.copy_(new)
        self.graph.replay()
        return self.loss, self.norm

    def _compute(self) -> tuple[Tensor, Tensor]:
        for parameter in self.network.parameters():
            parameter.grad = None
        # A weight that is converted once for the whole step would be converted at the recording.
        with torch.autocast("cuda", torch.bfloat16, enabled=self.bf16, cache_enabled=False):
            outputs = self.network(self.degraded)
        self.supervision.prepare(self.degraded, self.step)
        with torch.autocast("cuda", enabled=False):
            loss = self.supervision(outputs.in_float32(), *self.others)
        loss.total.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.clip)
        return loss.total.detach(), norm
