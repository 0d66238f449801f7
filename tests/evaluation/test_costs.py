"""Multiply-adds of a model file at any depth are those of its network."""

from pathlib import Path

import pytest

from cmudrn.engines import open_engine
from cmudrn.errors import CmudrnError
from cmudrn.evaluation.costs import Cost, model_cost


@pytest.mark.parametrize("kind", ["cmudrn", "drn", "shared-trunk"])
def test_every_network_costs_what_its_formula_says(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from cmudrn.export.onnx_graph import export_onnx
    from cmudrn.networks.config import NetworkConfig
    from cmudrn.networks.registry import count_parameters, macs_per_pixel, make_network

    config = NetworkConfig.model_validate({"kind": kind, "features": 8, "stages": 2})
    network = make_network(config)
    export_onnx(config, network.state_dict(), tmp_path / "a.onnx", "a", elastic=False)
    info = open_engine(tmp_path / "a.onnx").info
    for depth in ((None, None), (1, 1), (7, 3), (None, 5)):
        cost = Cost(count_parameters(network), macs_per_pixel(config, *depth))
        assert model_cost(info, *depth) == cost


def test_the_record_of_a_foreign_model_does_not_say(foreign_model: Path) -> None:
    assert model_cost(open_engine(foreign_model).info) == Cost()
    with pytest.raises(CmudrnError, match="has a fixed depth"):
        model_cost(open_engine(foreign_model).info, 2, 2)
