"""The veil estimator: torch, NumPy and the model file agree; the restorer uses it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from cmudrn.engines import open_engine
from cmudrn.export.onnx_graph import export_onnx
from cmudrn.image.resampling import SIDE
from cmudrn.models.info import VEIL_PREFIX
from cmudrn.networks.config import FusionConfig, NetworkConfig
from cmudrn.networks.registry import count_parameters, make_network
from cmudrn.networks.veil_estimator import VeilEstimatorNetwork, veil_estimator_macs
from cmudrn.restoration import RestoreSettings, restore_image
from cmudrn.restoration.dehazing import VeilEstimator
from cmudrn.restoration.restorer import Restorer


@pytest.fixture(scope="module")
def branch() -> VeilEstimatorNetwork:
    torch.manual_seed(0)
    return VeilEstimatorNetwork(NetworkConfig(kind="veil-estimator", tasks=("veil",)))


def as_numpy(branch: VeilEstimatorNetwork) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in branch.state_dict().items()}


@pytest.fixture(scope="module")
def model(branch: VeilEstimatorNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes off the veil and nothing else: its fusion head adds zero."""
    config = NetworkConfig(stages=1, recursions=1, fusion=FusionConfig(skip=True))
    torch.manual_seed(1)
    weights = make_network(config).state_dict()
    for name in weights:
        if "conv_out" in name or "conv3" in name:
            weights[name] = torch.zeros_like(weights[name])
    weights |= {f"{VEIL_PREFIX}{name}": value for name, value in branch.state_dict().items()}
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    record = {"parameters": count_parameters(branch), "thumbnail": SIDE}
    export_onnx(config, weights, path, "model", elastic=True, context=record)
    return path


def test_the_branch_is_small(branch: VeilEstimatorNetwork) -> None:
    assert count_parameters(branch) < 30_000


def test_macs_are_those_of_its_convolutions(branch: VeilEstimatorNetwork) -> None:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        branch(torch.rand(1, 3, SIDE, SIDE))
    counted = counter.get_flop_counts()["Global"][torch.ops.aten.convolution]
    assert counted == 2 * veil_estimator_macs(16)


def test_numpy_and_torch_agree(branch: VeilEstimatorNetwork) -> None:
    thumbnails = np.random.default_rng(0).random((3, SIDE, SIDE, 3), dtype=np.float32)
    with torch.no_grad():
        batch = torch.from_numpy(thumbnails).permute(0, 3, 1, 2)
        thickness, airlight = branch.estimate(batch)
        lifted = branch(batch).fused.permute(0, 2, 3, 1).numpy()
    context, all_ = VeilEstimator(as_numpy(branch)), (slice(0, SIDE), slice(0, SIDE))
    for i, thumbnail in enumerate(thumbnails):
        lift = context.estimate_veil(thumbnail)
        np.testing.assert_allclose(lift.gain, thickness[i, 0].exp(), atol=1e-5)
        np.testing.assert_allclose(lift.airlight, airlight[i], atol=1e-5)
        np.testing.assert_allclose(lift(thumbnail, all_, (SIDE, SIDE)), lifted[i], atol=1e-5)


def test_a_mirrored_image_has_the_mirrored_veil(branch: VeilEstimatorNetwork) -> None:
    context, picture = VeilEstimator(as_numpy(branch)), np.random.default_rng(5).random((90, 70, 3))
    image = picture.astype(np.float32)
    one, other = context(image), context(np.ascontiguousarray(image[:, ::-1]))
    np.testing.assert_allclose(one.gain, other.gain[:, ::-1], rtol=1e-6)
    np.testing.assert_allclose(one.airlight, other.airlight, rtol=1e-6)


@pytest.mark.parametrize("engine", ["onnx", "auto"])
def test_a_restorer_lifts_the_veil_that_the_model_file_finds(
    engine: str, model: Path, branch: VeilEstimatorNetwork
) -> None:
    noise = np.random.default_rng(1).random((150, 170, 3), dtype=np.float32)
    picture = (noise / 2 + 0.25).astype(np.float32)
    area = (slice(0, 150), slice(0, 170))
    lift = VeilEstimator(as_numpy(branch))(picture)
    assert not lift.clear
    opened = open_engine(model, engine, threads=1, precision="fp32")
    restored = Restorer(opened)(picture, dehaze=True)
    lifted = lift(picture, area, (150, 170))
    np.testing.assert_allclose(restored, lifted.clip(0, 1), atol=1e-5)
    half = Restorer(opened)(picture, strength=0.5, dehaze=True)
    np.testing.assert_allclose(half, (picture + lifted) / 2, atol=1e-5)


def test_tiled_equals_whole(model: Path) -> None:
    picture = np.random.default_rng(2).random((230, 260, 3), dtype=np.float32) / 2 + 0.25
    engine = open_engine(model, "onnx", threads=1)
    whole = Restorer(engine)(picture, dehaze=True)
    tiled = Restorer(engine, tile_pixels=100 * 100)(picture, dehaze=True)
    np.testing.assert_allclose(tiled, whole, atol=1e-6)


def test_what_was_removed_counts_the_veil(model: Path) -> None:
    picture = np.random.default_rng(3).random((60, 70, 3), dtype=np.float32) / 2 + 0.25
    made = restore_image(
        Restorer(open_engine(model, "onnx", threads=1)),
        picture,
        RestoreSettings(layers=True, dehazing=True),
    )
    np.testing.assert_allclose(
        (picture - made.residuals["fused"]).clip(0, 1), made.pixels, atol=1e-6
    )


def test_a_branch_learns_to_lift_a_veil(branch: VeilEstimatorNetwork) -> None:
    config = NetworkConfig(kind="veil-estimator", tasks=("veil",))
    torch.manual_seed(2)
    network = make_network(config)
    plain = torch.rand(4, 3, SIDE, SIDE) * 0.5
    veiled = 0.6 * plain + 0.4 * 0.9
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    losses = []
    for _ in range(30):
        loss = (network(veiled).fused - plain).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 4
