"""The veil estimator: from a thumbnail of the whole image to the veil over it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmudrn.image.resampling import SIDE
from cmudrn.models.info import VEIL_BLOCK, VEIL_MAX_THICKNESS
from cmudrn.networks.config import NetworkConfig
from cmudrn.networks.drn import Outputs, conv


class VeilEstimatorNetwork(nn.Module):
    """Takes the veil of snow and fog off thumbnails, as `cmudrn.restoration.dehazing` off pictures.

    For each block of the thumbnail it sees every channel's mean, least and greatest value; the
    least is the dark channel, which flakes do not reach. It gives a coarse map of -log t, one
    gate that closes where there is no veil at all, and the airlight.

    Args:
        config: `features` of the first map; the others have twice as many.

    References:
        He et al., "Single Image Haze Removal Using Dark Channel Prior", CVPR 2009.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        c = 2 * config.features
        self.enter = nn.Conv2d(9, config.features, 3, stride=2, padding=1)
        self.reduce = nn.Conv2d(config.features, c, 3, stride=2, padding=1)
        self.look, self.judge = conv(c, c), conv(c, c)
        self.gather, self.spread = nn.Linear(2 * c, c), nn.Linear(c, c)
        self.thickness, self.gate, self.airlight = conv(c, 1, 1), nn.Linear(c, 1), nn.Linear(c, 3)

    def estimate(self, thumbnail: Tensor) -> tuple[Tensor, Tensor]:
        """Return (thickness (B, 1, h, w), airlight (B, 3)) of (B, 3, SIDE, SIDE) thumbnails."""
        seen = [F.avg_pool2d(thumbnail, VEIL_BLOCK), -F.max_pool2d(-thumbnail, VEIL_BLOCK)]
        h = torch.cat([*seen, F.max_pool2d(thumbnail, VEIL_BLOCK)], 1) - 0.5
        h = F.relu(self.reduce(F.relu(self.enter(h))))
        h = h + F.relu(self.look(h))
        whole = F.relu(self.gather(torch.cat([h.mean((2, 3)), h.amax((2, 3))], 1)))
        h = F.relu(self.judge(h) + self.spread(whole)[..., None, None])
        gate = torch.sigmoid(self.gate(whole))[..., None, None]
        thickness = F.softplus(self.thickness(h)) * gate
        return thickness.clamp(max=float(VEIL_MAX_THICKNESS)), torch.sigmoid(self.airlight(whole))

    def forward(
        self, degraded: Tensor, _stages: int | None = None, _recursions: int | None = None
    ) -> Outputs:
        """Return the thumbnails without their veil; it has neither stages nor recursions.

        Args:
            degraded: (B, 3, SIDE, SIDE) RGB in [0, 1].
        """
        thickness, airlight = self.estimate(degraded)
        gain = F.interpolate(thickness.exp(), size=degraded.shape[2:], mode="bilinear")
        veil = airlight[..., None, None]
        lifted = veil + (degraded - veil) * gain
        return Outputs(((lifted,),), lifted)


def veil_estimator_macs(features: int) -> int:
    """Return the multiply-adds of the convolutions for one thumbnail."""
    c, cells = 2 * features, (SIDE // VEIL_BLOCK // 4) ** 2
    return 9 * 9 * features * 4 * cells + (9 * features * c + 2 * 9 * c * c + c) * cells
