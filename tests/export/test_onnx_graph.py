"""The exported graph against torch."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from cmudrn.export.onnx_graph import export_onnx
from cmudrn.networks.config import NetworkConfig
from cmudrn.networks.registry import make_network

STRUCTURES: dict[str, dict[str, object]] = {
    "paper": {},
    "drn": {"kind": "drn", "stages": 2},
    "shared trunk": {"kind": "shared-trunk"},
    "learned": {"cross_stitch": {"kind": "learned", "a": 0.9}},
    "off": {"cross_stitch": {"kind": "off"}},
    "other places": {
        "cross_stitch": {"a": 0.7, "positions": ["in", "rb1", "rec", "img"]},
        "fusion": {"kernel": 1, "skip": True},
    },
    "three tasks": {"tasks": ["rain", "snow", "haze"], "cross_stitch": {"a": 0.6}},
    "literal": {"relu_output": True},
}


@pytest.mark.parametrize("structure", list(STRUCTURES))
def test_every_structure_runs_as_torch_does_at_any_depth(structure: str, tmp_path: Path) -> None:
    config = NetworkConfig.model_validate(STRUCTURES[structure])
    network, path = make_network(config).eval(), tmp_path / "model.onnx"
    export_onnx(config, network.state_dict(), path, "model")
    session = onnxruntime.InferenceSession(path)
    picture = torch.rand(2, 3, 13, 17)
    for stages, recursions in ((3, 3), (1, 1), (4, 2)):
        depth = {"stages": np.array(stages), "recursions": np.array(recursions)}
        results = session.run(None, {"degraded": picture.numpy(), **depth})
        with torch.no_grad():
            outputs = network(picture, stages, recursions)
        branches = [branch[-1] for branch in outputs.branches] if config.kind != "drn" else []
        for ours, oracle in zip(results, [outputs.fused, *branches], strict=True):
            assert np.abs(ours - oracle.numpy()).max() < 1e-5


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    config = NetworkConfig()
    path = tmp_path / "model.onnx"
    export_onnx(config, make_network(config).state_dict(), path, "mine", licence="MIT")
    session = onnxruntime.InferenceSession(path)
    record = json.loads(session.get_modelmeta().custom_metadata_map["cmudrn"])
    assert record["name"] == "mine" and record["licence"] == "MIT"
    assert record["parameters"] == 24_825 and record["tasks"] == ["rain", "snow"]
    assert [output.name for output in session.get_outputs()] == ["restored", "rain", "snow"]
