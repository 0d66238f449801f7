"""From runs to model files: what the file says, and weights between two runs."""

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from cmudrn.cli import app
from cmudrn.engines import open_engine
from cmudrn.errors import CmudrnError
from cmudrn.train.ship import blend

RUN = Path(__file__).parents[2] / "docs" / "runs" / "studies" / "cmudrn-seed0"


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
    model = tmp_path / "model.onnx"
    done = CliRunner().invoke(app, ["export", str(RUN), str(model), "--name", "mine", *asked])
    assert done.exit_code == 0, done.output
    for engine in ("onnx", "auto"):
        info = open_engine(model, engine, threads=1).info
        assert (info.name, info.restraint_db) == ("mine", found)


@pytest.mark.parametrize(
    ("name", "asked", "sentence"),
    [
        ("nowhere/model.onnx", (), "^Cannot write .*nowhere/model.onnx: No such file or directory"),
        ("folder", (), "^Cannot write .*/folder: Is a directory"),
        ("model.onnx", ("--share", "7"), "--toward and --share go together"),
        ("model.onnx", ("--toward", str(RUN)), "--toward and --share go together"),
        ("model.onnx", ("--toward", str(RUN), "--share", "7"), "A share is between 0 and 1"),
        ("model.onnx", ("--restraint-db", "nan"), "restraint is a number of decibels; it is nan"),
        ("model.onnx", ("--restraint-db", "inf"), "restraint is a number of decibels; it is inf"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence_and_leaves_no_file(
    tmp_path: Path, name: str, asked: tuple[str, ...], sentence: str
) -> None:
    (tmp_path / "folder").mkdir()
    command = ["export", str(RUN), str(tmp_path / name), *asked]
    with pytest.raises(CmudrnError, match=sentence):
        CliRunner().invoke(app, command, catch_exceptions=False)
    assert [path.name for path in tmp_path.rglob("*")] == ["folder"]
