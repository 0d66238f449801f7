"""AirNet: an encoder tells degradations apart, a restorer bends its samples to what it tells.

Written from notes about its structure, not from its authors' code; names of the weights are the
authors', so that their files fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmudrn.networks.comparators.deformable import GuidedDeformableConv

SLOPE = 0.1
"""Of every leaky ReLU."""

MOMENTUM = 0.999
"""How much of the slow encoder stays in a step."""

TEMPERATURE = 0.07
"""Of the contrastive loss."""


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class EncoderBlock(nn.Module):
    """Two 3x3 convolutions beside a 1x1 shortcut, (B, C, H, W) to (B, C', H/s, W/s)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return the block's output."""
        return F.leaky_relu(self.backbone(maps) + self.shortcut(maps), SLOPE)


@dataclass(frozen=True)
class Encoding:
    """What the encoder makes of a picture.

    Attributes:
        degradation: (B, C, H, W), the map that guides the restorer.
        embedding: (B, 4 C).
        projected: (B, 4 C), what the contrastive loss compares; not normalised.
    """

    degradation: Tensor
    embedding: Tensor
    projected: Tensor


class Encoder(nn.Module):
    """Degraded picture, (B, 3, H, W), to `Encoding`."""

    def __init__(self, features: int) -> None:
        super().__init__()
        size = 4 * features
        self.E_pre = EncoderBlock(3, features, 1)
        self.E = nn.Sequential(
            EncoderBlock(features, 2 * features, 2),
            EncoderBlock(2 * features, size, 2),
            nn.AdaptiveAvgPool2d(1),
        )
        self.mlp = nn.Sequential(nn.Linear(size, size), nn.LeakyReLU(SLOPE), nn.Linear(size, size))

    def forward(self, degraded: Tensor) -> Encoding:
        """Return the map, the embedding and what is compared."""
        degradation = self.E_pre(degraded)
        embedding = self.E(degradation).flatten(1)
        return Encoding(degradation, embedding, self.mlp(embedding))


class _MomentumPair(nn.Module):
    """The encoder that learns, and for training its slow copy with a queue of past keys."""

    def __init__(self, features: int, queue: int) -> None:
        super().__init__()
        self.encoder_q = Encoder(features)
        if queue:
            self.encoder_k = Encoder(features).requires_grad_(False)
            self.encoder_k.load_state_dict(self.encoder_q.state_dict())
            keys = F.normalize(torch.randn(4 * features, queue), dim=0)
            self.register_buffer("queue", keys)
            self.register_buffer("queue_ptr", torch.zeros(1, dtype=torch.long))


class _EncoderRoom(nn.Module):
    """Holds the pair under the name that the authors' files give it."""

    def __init__(self, features: int, queue: int) -> None:
        super().__init__()
        self.E = _MomentumPair(features, queue)


class _Transform(nn.Module):
    """x gamma + beta, both made from the degradation map pixel by pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_gamma = self._made(channels)
        self.conv_beta = self._made(channels)

    @staticmethod
    def _made(channels: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(channels, channels, 1, bias=False),
        )

    def forward(self, maps: Tensor, degradation: Tensor) -> Tensor:
        gamma, beta = self.conv_gamma(degradation), self.conv_beta(degradation)
        return cast(Tensor, maps * gamma + beta)


class GuidedModule(nn.Module):
    """x + deformable convolution + transform, both guided by the degradation map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dcn = GuidedDeformableConv(channels)
        self.sft = _Transform(channels)

    def forward(self, maps: Tensor, degradation: Tensor) -> Tensor:
        """Return the guided maps, (B, C, H, W)."""
        moved, scaled = self.dcn(maps, degradation), self.sft(maps, degradation)
        return cast(Tensor, maps + moved + scaled)


class GuidedBlock(nn.Module):
    """Two guided modules, each before a 3x3 convolution, plus the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dgm1 = GuidedModule(channels)
        self.dgm2 = GuidedModule(channels)
        self.conv1 = _conv(channels, channels)
        self.conv2 = _conv(channels, channels)

    def forward(self, maps: Tensor, degradation: Tensor) -> Tensor:
        """Return the block's output, (B, C, H, W)."""
        inner = F.leaky_relu(self.dgm1(maps, degradation), SLOPE)
        inner = F.leaky_relu(self.conv1(inner), SLOPE)
        inner = F.leaky_relu(self.dgm2(inner, degradation), SLOPE)
        return maps + cast(Tensor, self.conv2(inner))


class GuidedGroup(nn.Module):
    """Guided blocks and a 3x3 convolution, plus the input."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        members: list[nn.Module] = [GuidedBlock(channels) for _ in range(blocks)]
        self.body = nn.ModuleList([*members, _conv(channels, channels)])

    def forward(self, maps: Tensor, degradation: Tensor) -> Tensor:
        """Return the group's output, (B, C, H, W)."""
        *blocks, last = self.body
        inner = maps
        for block in blocks:
            inner = block(inner, degradation)
        return maps + cast(Tensor, last(inner))


class Restorer(nn.Module):
    """Degraded picture and degradation map to the restored picture, (B, 3, H, W)."""

    def __init__(self, features: int, groups: int, blocks: int) -> None:
        super().__init__()
        members: list[nn.Module] = [GuidedGroup(features, blocks) for _ in range(groups)]
        self.head = nn.Sequential(_conv(3, features))
        self.body = nn.ModuleList([*members, _conv(features, features)])
        self.tail = nn.Sequential(_conv(features, 3))

    def forward(self, degraded: Tensor, degradation: Tensor) -> Tensor:
        """Return the restored picture."""
        entered = self.head(degraded)
        *groups, last = self.body
        maps = entered
        for group in groups:
            maps = group(maps, degradation)
        return cast(Tensor, self.tail(entered + last(maps)))


class AirNet(nn.Module):
    """The network of AirNet, (B, 3, H, W) RGB in [0, 1] to the same, of any size.

    Nothing joins input and output directly, and the output is not clipped.

    Args:
        features: of the restorer's maps; 64 in the paper, fewer make a narrow variant.
        groups: of guided blocks; 5 in the paper.
        blocks: guided blocks in a group; 5 in the paper.
        queue: past keys that contrastive training compares with, 256 times the kinds of
            degradation in the paper; 0 leaves the slow encoder and its queue away.

    References:
        Li et al., All-In-One Image Restoration for Unknown Corruption, CVPR 2022.
    """

    def __init__(
        self, features: int = 64, groups: int = 5, blocks: int = 5, *, queue: int = 0
    ) -> None:
        super().__init__()
        self.size = features, groups, blocks
        self.R = Restorer(features, groups, blocks)
        self.E = _EncoderRoom(features, queue)

    @property
    def encoder(self) -> Encoder:
        """The encoder that learns."""
        return self.E.E.encoder_q

    def forward(self, degraded: Tensor) -> Tensor:
        """Return the restored picture; only the encoder's first block is needed for it."""
        return cast(Tensor, self.R(degraded, self.encoder.E_pre(degraded)))

    def with_queue(self, queue: int) -> AirNet:
        """Return an untrained network of this size with a slow encoder and its queue."""
        return AirNet(*self.size, queue=queue)

    def contrast(self, projected: Tensor, other: Tensor) -> Tensor:
        """Return how alike pictures are to their keys and to past ones, and remember the keys.

        Args:
            projected: (B, 4 C), what the encoder makes of the pictures.
            other: (B, 3, H, W), other views of them.

        Returns:
            (B, 1 + queue) float32; the own key is first.
        """
        pair = self.E.E
        with torch.no_grad():
            learned = pair.encoder_q.state_dict()
            for name, value in pair.encoder_k.state_dict().items():
                if value.is_floating_point():
                    value.lerp_(learned[name], 1 - MOMENTUM)
            keys = F.normalize(pair.encoder_k(other).projected.float(), dim=1)
        asked = F.normalize(projected.float(), dim=1)
        past = cast(Tensor, pair.queue).clone()
        logits = torch.cat([(asked * keys).sum(1, keepdim=True), asked @ past], 1) / TEMPERATURE
        self._remember(keys)
        return logits

    @torch.no_grad()
    def _remember(self, keys: Tensor) -> None:
        """Put keys, (B, 4 C), in the place of the oldest ones."""
        queue, pointer = cast(Tensor, self.E.E.queue), cast(Tensor, self.E.E.queue_ptr)
        places = (int(pointer) + torch.arange(len(keys), device=keys.device)) % queue.shape[1]
        queue[:, places] = keys.T
        pointer[0] = (int(pointer) + len(keys)) % queue.shape[1]
