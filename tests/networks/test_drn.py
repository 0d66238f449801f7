"""DRN against its authors' own outputs."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cmudrn.checkpoints.drn_authors import load_official_drn
from cmudrn.errors import CmudrnError
from cmudrn.networks.drn import DRN


@pytest.mark.parametrize("name", ["rain100h", "rain100l"])
def test_the_authors_weights_reproduce_the_authors_stages(shared_data: Path, name: str) -> None:
    folder = shared_data / "weights" / "drn_official"
    golden = np.load(folder / "golden.npz")
    degraded = torch.from_numpy(golden["input_uint8"]).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        stages = load_official_drn(folder / f"{name}_t7_s7.pth")(degraded).branches[0]
    ours = torch.cat(stages).permute(0, 2, 3, 1).numpy()
    assert np.abs(ours - golden[f"{name}_stages"]).max() < 1e-5


def test_a_file_that_is_no_weight_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"not a pickle")
    with pytest.raises(CmudrnError, match="not a weight file"):
        load_official_drn(path)


def test_fewer_stages_are_the_first_stages() -> None:
    network, degraded = DRN(stages=3, recursions=2), torch.rand(1, 3, 9, 11)
    whole, part = network(degraded), network(degraded, stages=2)
    assert torch.equal(whole.branches[0][1], part.fused)


def test_features_only_grow_so_that_a_last_relu_changes_nothing() -> None:
    network = DRN()
    h = torch.rand(1, 16, 8, 8)
    grown = network.block1(h)
    assert bool((grown >= h).all())


def test_the_printed_last_relu_can_only_brighten() -> None:
    degraded = torch.rand(2, 3, 12, 12)
    with torch.no_grad():
        literal = DRN(stages=1, recursions=1, relu_output=True)(degraded).fused
        real = DRN(stages=1, recursions=1)(degraded).fused
    assert bool((literal >= degraded).all()) and not bool((real >= degraded).all())
