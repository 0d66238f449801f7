"""The authors' weight files as something that restores pictures: `tkl:FILE` and its like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cmudrn.checkpoints.comparators.files import fill, read_state
from cmudrn.checkpoints.comparators.keras_file import read_keras
from cmudrn.errors import InvalidSettingError
from cmudrn.image import Image, from_batch, to_batch
from cmudrn.networks.comparators import hdcwnet, tkl
from cmudrn.networks.comparators.airnet import AirNet
from cmudrn.networks.comparators.costs import count_macs
from cmudrn.networks.comparators.harness import Harness, HdcwHarness
from cmudrn.networks.comparators.prenet import BLOCKS, PReNet
from cmudrn.networks.comparators.windows import restore_in_windows

COUNTED_AT = 256
"""Side of the picture at which multiply-adds for a pixel are counted, where any size goes."""


MOMENTUM = ("E.E.encoder_k.", "E.E.queue")
"""How the names begin of what AirNet needs for contrastive training only."""


@dataclass(frozen=True)
class Comparator:
    """Somebody else's network with its authors' weights.

    Attributes:
        kind: its name here, such as "tkl".
        network: the bare network.
        batch: (1, 3, H, W) RGB in [0, 1], of any size, to the same; not clipped.
        parameters: how many numbers were learned, of those that restoring needs.
        macs: multiply-adds for a pixel that is returned.
        note: how this differs from what the authors' scripts do, in a sentence.
    """

    kind: str
    network: nn.Module
    batch: Callable[[Tensor], Tensor]
    parameters: int
    macs: int
    note: str

    @torch.inference_mode()
    def __call__(self, degraded: Image) -> Image:
        """Return the restored picture, (H, W, 3) float32 RGB in [0, 1], of the same size."""
        restored = self.batch(torch.from_numpy(to_batch(degraded))).numpy()
        return np.clip(from_batch(restored), 0, 1)


def _fused(harness: Harness) -> Callable[[Tensor], Tensor]:
    harness.eval()
    return lambda degraded: harness(degraded).fused


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _open_tkl(path: Path) -> Comparator:
    whose = "TKL"
    network = tkl.TKL()
    fill(network, read_state(path, whose), path, whose)
    return Comparator(
        "tkl",
        network,
        _fused(Harness(network, tkl.MULTIPLE, tkl.SMALLEST)),
        _count(network),
        round(count_macs(network, COUNTED_AT, COUNTED_AT) / COUNTED_AT**2),
        "TKL: pictures are mirrored to sides that are multiples of 16 and cut back; its authors' "
        "script shrinks them to such sides and compares the shrunk ones.",
    )


def _open_airnet(path: Path) -> Comparator:
    whose, network = "AirNet", AirNet()
    needed = nn.ModuleDict({"R": network.R, "enter": network.encoder.E_pre})
    state = read_state(path, whose)
    fill(network, state, path, whose, surplus=lambda name: name.startswith(MOMENTUM))
    return Comparator(
        "airnet",
        network,
        _fused(Harness(network)),
        _count(needed),
        round(count_macs(network, COUNTED_AT, COUNTED_AT) / COUNTED_AT**2),
        "AirNet: whole pictures are restored; its authors' script cuts the middle out, to sides "
        "that are multiples of 16.",
    )


def _open_hdcwnet(path: Path) -> Comparator:
    height, width = (side + 2 * hdcwnet.BORDER for side in hdcwnet.PICTURE)
    network = hdcwnet.HDCWNet((height, width))
    wanted = network.state_dict()
    counters = {name: value for name, value in wanted.items() if name.endswith("batches_tracked")}
    shapes = {name: tuple(value.shape) for name, value in wanted.items() if name not in counters}
    held = read_keras(path, shapes)
    fill(network, held.state | counters, path, "HDCW-Net")
    whole = _fused(HdcwHarness(network, eight_bit=True))
    note = (
        "HDCW-Net: pictures are restored in windows of 480x640 pixels, tall ones turned and turned "
        "back; its authors' script resizes them to 640x480 and writes JPEG files."
    )
    if not held.in_place:
        note += " The layers of the file were told apart by name, as their order was another."
    return Comparator(
        "hdcwnet",
        network,
        lambda degraded: restore_in_windows(degraded, whole, hdcwnet.PICTURE),
        _count(network),
        round(count_macs(network, height, width) / (hdcwnet.PICTURE[0] * hdcwnet.PICTURE[1])),
        note,
    )


def _open_prenet(path: Path) -> Comparator:
    whose = "PReNet or PRN"
    state = read_state(path, whose)
    network = PReNet(
        recurrent="conv_i.0.weight" in state, shared=f"res_conv{BLOCKS}.0.weight" not in state
    )
    fill(network, state, path, whose)
    return Comparator(
        "prenet",
        network,
        _fused(Harness(network)),
        _count(network),
        round(count_macs(network, COUNTED_AT, COUNTED_AT) / COUNTED_AT**2),
        "",
    )


KINDS: dict[str, Callable[[Path], Comparator]] = {
    "tkl": _open_tkl,
    "hdcwnet": _open_hdcwnet,
    "airnet": _open_airnet,
    "prenet": _open_prenet,
}
"""What stands before the colon -> how the file behind it is opened."""


def open_comparator(text: str) -> Comparator:
    """Return somebody else's network with the weights of its authors' file.

    Args:
        text: `KIND:FILE`, KIND one of `KINDS`.

    Raises:
        CmudrnError: there is no such kind or file, the file holds other weights, or a package is
            missing.
    """
    kind, _, path = text.partition(":")
    if not path or kind not in KINDS:
        raise InvalidSettingError(
            f"{text} is not one of {', '.join(f'{known}:FILE' for known in KINDS)}."
        )
    return KINDS[kind](Path(path))
