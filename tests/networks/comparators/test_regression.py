"""Tiny networks with weights by rule give stored results; this needs no other folder.

The results were stored when the full networks agreed with their authors' golden files
(`test_parity.py`). PReNet and PRN have no golden file. This file, run by Python with `tests` on
PYTHONPATH, stores the results again; do that only after the parity tests have passed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from support.weights_by_rule import fill_by_rule, fill_hdcwnet_by_rule, make_input
from torch import Tensor

from cmudrn.networks.comparators.airnet import AirNet
from cmudrn.networks.comparators.dual_tree import transform
from cmudrn.networks.comparators.hdcwnet import HDCWNet, Widths
from cmudrn.networks.comparators.prenet import PReNet
from cmudrn.networks.comparators.tkl import TKL

KEPT = Path(__file__).with_name("kept.npz")


def _picture(height: int, width: int) -> Tensor:
    return torch.from_numpy(make_input((1, 3, height, width)))


def _tkl() -> Tensor:
    network = TKL(4, 2)
    fill_by_rule(network)
    made: Tensor = network(_picture(32, 48))
    return made


def _hdcwnet() -> Tensor:
    network = HDCWNet((48, 64), Widths.scaled(1 / 16))
    fill_hdcwnet_by_rule(network)
    made: Tensor = network.run(_picture(48, 64)).whole
    return made


def _airnet() -> Tensor:
    network = AirNet(8, 2, 2)
    fill_by_rule(network, 0.5)
    made: Tensor = network(_picture(13, 22))
    return made


def _prenet() -> Tensor:
    network = PReNet(8)
    fill_by_rule(network, 0.5)
    made: Tensor = network(_picture(13, 22))
    return made


def _prn_r() -> Tensor:
    network = PReNet(8, recurrent=False, shared=True)
    fill_by_rule(network, 0.5)
    made: Tensor = network(_picture(13, 22))
    return made


def _dual_tree() -> Tensor:
    made = transform(_picture(16, 24))
    return torch.cat([part.flatten() for part in (made.low, made.fine, made.coarse)])


CASES: dict[str, Callable[[], Tensor]] = {
    "tkl": _tkl,
    "hdcwnet": _hdcwnet,
    "airnet": _airnet,
    "prenet": _prenet,
    "prn_r": _prn_r,
    "dual_tree": _dual_tree,
}


@pytest.mark.parametrize("name", CASES)
def test_a_tiny_network_gives_what_it_gave(name: str) -> None:
    kept = np.load(KEPT)[name]
    with torch.no_grad():
        made = CASES[name]().numpy()
    assert made.shape == kept.shape
    assert np.abs(made - kept).max() < 2e-5 * np.abs(kept).max()


def test_what_is_kept_is_small_and_complete() -> None:
    assert KEPT.stat().st_size < 100_000
    assert set(np.load(KEPT).files) == set(CASES)


if __name__ == "__main__":
    with torch.no_grad():
        np.savez_compressed(KEPT, **{name: case().numpy() for name, case in CASES.items()})  # type: ignore[arg-type]
