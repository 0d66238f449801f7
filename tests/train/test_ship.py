"""From runs to model files: what the file says, and weights between two runs."""

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from cmudrn.cli import app
from cmudrn.engines import open_engine
from cmudrn.errors import CmudrnError
from cmudrn.train.ship import blend


def test_a_blend_lies_between() -> None:
    ours, theirs = {"a": torch.zeros(2, 3)}, {"a": torch.ones(2, 3)}
    assert torch.equal(blend(ours, theirs, 0)["a"], ours["a"])
    assert torch.equal(blend(ours, theirs, 1)["a"], theirs["a"])
    assert torch.allclose(blend(ours, theirs, 0.25)["a"], torch.full((2, 3), 0.25))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(CmudrnError, match="different networks"):
        blend({"a": torch.zeros(2)}, {"a": torch.zeros(3)}, 0.5)
    with pytest.raises(CmudrnError, match="between 0 and 1"):
        blend({"a": torch.zeros(2)}, {"a": torch.zeros(2)}, 2)


@pytest.mark.parametrize("asked, found", [((), None), (("--restraint-db", "31.5"), 31.5)])
def test_a_run_s_last_weights_are_exported_with_their_restraint(
    tmp_path: Path, asked: tuple[str, ...], found: float | None
) -> None:
    run = Path(__file__).parents[2] / "docs" / "runs" / "studies" / "cmudrn-seed0"
    model = tmp_path / "model.onnx"
    done = CliRunner().invoke(app, ["export", str(run), str(model), "--name", "mine", *asked])
    assert done.exit_code == 0, done.output
    for engine in ("onnx", "auto"):
        info = open_engine(model, engine, threads=1).info
        assert (info.name, info.restraint_db) == ("mine", found)
