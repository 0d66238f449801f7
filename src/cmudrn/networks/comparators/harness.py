"""Other people's networks in the place of one of ours: RGB of any size in, `Outputs` out.

What each needs around it - sides, colours, a border - is done here, as its authors do it, and in
torch, so that the network can be trained behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmudrn.networks.comparators import hdcwnet, tkl
from cmudrn.networks.comparators.airnet import AirNet
from cmudrn.networks.comparators.prenet import PReNet
from cmudrn.networks.comparators.ycrcb import to_rgb, to_ycrcb, to_ycrcb_8bit
from cmudrn.networks.drn import Outputs


def reach(picture: Tensor, height: int, width: int) -> Tensor:
    """Return (B, C, H, W) made (B, C, height, width): mirrored at the lower and right edge.

    Edge pixels are not repeated; where a picture is too small, it is mirrored again and again.
    """
    for axis, target in ((2, height), (3, width)):
        size = picture.shape[axis]
        period = max(2 * size - 2, 1)
        place = torch.arange(target, device=picture.device) % period
        picture = picture.index_select(axis, torch.where(place < size, place, period - place))
    return picture


def next_multiple(size: int, multiple: int, smallest: int) -> int:
    """Return the smallest multiple that is neither under size nor under smallest."""
    return -(-max(size, smallest) // multiple) * multiple


class Harness(nn.Module):
    """A network that takes RGB of any size; (B, 3, H, W) in [0, 1] to `Outputs` of one branch.

    Args:
        network: the bare network.
        multiple: sides that it sees are multiples of it.
        smallest: they are no shorter.
    """

    def __init__(self, network: nn.Module, multiple: int = 1, smallest: int = 1) -> None:
        super().__init__()
        self.network = network
        self.multiple, self.smallest = multiple, smallest

    def estimate(self, padded: Tensor, stages: int | None) -> Sequence[Tensor]:
        """Return the network's estimates of a picture of fitting size, the answer last."""
        if isinstance(self.network, PReNet):
            return self.network.run(padded, stages)
        return (self.network(padded),)

    def forward(
        self, degraded: Tensor, stages: int | None = None, _recursions: int | None = None
    ) -> Outputs:
        """Return the network's estimates as those of a lone branch.

        Args:
            degraded: (B, 3, H, W) RGB in [0, 1].
            stages: of PReNet and PRN, for this call; means nothing to the others.
        """
        height, width = degraded.shape[2:]
        sides = (next_multiple(side, self.multiple, self.smallest) for side in (height, width))
        made = self.estimate(reach(degraded, *sides), stages)
        estimates = tuple(each[:, :, :height, :width] for each in made)
        return Outputs((estimates,), estimates[-1])


@dataclass(frozen=True)
class HdcwTrainingOutputs(Outputs):
    """What HDCW-Net returns while it is trained: with the maps that the wavelet loss compares."""

    made: hdcwnet.HdcwOutputs


class HdcwHarness(Harness):
    """HDCW-Net behind OpenCV's colours and its border of zeros, which is green.

    Args:
        network: with one slope for each channel, or for the size of the pictures to come.
        eight_bit: round RGB and YCrCb to 8 bit, as the authors' files are; not for training.
    """

    def __init__(self, network: hdcwnet.HDCWNet, *, eight_bit: bool = False) -> None:
        super().__init__(network, hdcwnet.MULTIPLE, hdcwnet.SMALLEST - 2 * hdcwnet.BORDER)
        self.eight_bit = eight_bit

    def estimate(self, padded: Tensor, _stages: int | None) -> Sequence[Tensor]:
        """Return the one estimate, its YCrCb clipped to [0, 1] as the authors clip it."""
        colours = to_ycrcb_8bit(padded) if self.eight_bit else to_ycrcb(padded)
        return (to_rgb(self.network(F.pad(colours, (hdcwnet.BORDER,) * 4)).clamp(0, 1)),)

    def forward(
        self, degraded: Tensor, stages: int | None = None, _recursions: int | None = None
    ) -> Outputs:
        """Return the estimate as that of a lone branch; while training `HdcwTrainingOutputs`."""
        if not self.training:
            return super().forward(degraded, stages)
        height, width = degraded.shape[2:]
        made = self.network.run(seen_by_hdcwnet(degraded))  # type: ignore[operator]
        estimate = to_rgb(made.restored)[:, :, :height, :width]
        return HdcwTrainingOutputs(((estimate,),), estimate, made)


def seen_by_hdcwnet(rgb: Tensor) -> Tensor:
    """Return (B, 3, H, W) as HDCW-Net sees it: YCrCb of fitting sides with its border of zeros."""
    least = hdcwnet.SMALLEST - 2 * hdcwnet.BORDER
    sides = (next_multiple(side, hdcwnet.MULTIPLE, least) for side in rgb.shape[2:])
    return F.pad(to_ycrcb(reach(rgb, *sides)), (hdcwnet.BORDER,) * 4)


@dataclass(frozen=True)
class AirNetTrainingOutputs(Outputs):
    """What AirNet returns while it is trained: with what its contrastive loss compares.

    Attributes:
        logits: (B, 1 + queue), how alike a picture is to its own key, which is first, and to those
            of pictures before.
    """

    logits: Tensor


class AirNetHarness(Harness):
    """AirNet with its slow encoder and the queue of past keys.

    Its authors draw two crops of a picture. A training step here has one patch of it, so the key is
    of its mirror image.
    """

    def forward(
        self, degraded: Tensor, stages: int | None = None, _recursions: int | None = None
    ) -> Outputs:
        """Return the estimate as that of a lone branch; while training `AirNetTrainingOutputs`."""
        if not self.training:
            return super().forward(degraded, stages)
        assert isinstance(self.network, AirNet)
        seen = self.network.encoder(degraded)
        estimate = self.network.R(degraded, seen.degradation)
        logits = self.network.contrast(seen.projected, degraded.flip(3))
        return AirNetTrainingOutputs(((estimate,),), estimate, logits)


def _tkl(channels: int, middle: int) -> Harness:
    return Harness(tkl.TKL(channels, middle), tkl.MULTIPLE, tkl.SMALLEST)


def _hdcwnet(factor: float) -> Harness:
    return HdcwHarness(hdcwnet.HDCWNet(widths=hdcwnet.Widths.scaled(factor)))


VARIANTS: dict[str, Callable[[], Harness]] = {
    "tkl": lambda: _tkl(16, 18),
    "hdcwnet": lambda: _hdcwnet(1),
    "airnet": lambda: Harness(AirNet()),
    "prenet": lambda: Harness(PReNet()),
    "prn": lambda: Harness(PReNet(recurrent=False)),
    "tkl-narrow": lambda: _tkl(4, 6),
    "hdcwnet-narrow": lambda: _hdcwnet(1 / 8),
    "airnet-narrow": lambda: Harness(AirNet(16, 2, 2)),
}
"""What can be trained by its name: full size and, for two processor cores, narrow.

HDCW-Net learns one slope for each channel here, not for each pixel, so that it sees any size.
"""

QUEUE = 256
"""Past keys for each kind of weather that AirNet is trained with, as its authors have them."""


def trainable(kind: str, weathers: int) -> Harness:
    """Return one of `VARIANTS` with what only its training needs.

    Args:
        kind: its name.
        weathers: how many kinds of weather it will see.
    """
    made = VARIANTS[kind]()
    if isinstance(made.network, AirNet):
        return AirNetHarness(made.network.with_queue(QUEUE * weathers))
    return made
