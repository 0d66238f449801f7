"""From runs to model files: the record, and weights interpolated between two runs."""

import hashlib
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from cmudrn.cli import app
from cmudrn.engines import open_engine
from cmudrn.errors import CmudrnError
from cmudrn.export.export_checkpoint import blend, export_checkpoint
from cmudrn.export.live_engine import open_checkpoint

RUNS = Path(__file__).parents[2] / "docs" / "runs"
RUN = RUNS / "studies" / "cmudrn-seed0"


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


@pytest.mark.parametrize("asked, found", [((), None), (("--change-gating-db", "31.5"), 31.5)])
def test_a_run_s_last_weights_are_exported_with_their_restraint(
    tmp_path: Path, asked: tuple[str, ...], found: float | None
) -> None:
    model = tmp_path / "model.onnx"
    done = CliRunner().invoke(app, ["export", str(RUN), str(model), "--name", "mine", *asked])
    assert done.exit_code == 0, done.output
    for engine in ("onnx", "auto"):
        info = open_engine(model, engine, threads=1).info
        assert (info.name, info.change_gating_db) == ("mine", found)


@pytest.mark.parametrize(
    ("name", "asked", "sentence"),
    [
        ("nowhere/model.onnx", (), "^Cannot write .*nowhere/model.onnx: No such file or directory"),
        ("folder.onnx", (), "^.*/folder.onnx is a folder"),
        ("model.txt", (), "A model is an .onnx file, not model.txt"),
        ("model.onnx", ("--weight", "7"), "--interpolate-with and --weight are given together"),
        ("model.onnx", ("--interpolate-with", str(RUN)), "--interpolate-with and --weight are"),
        (
            "model.onnx",
            ("--interpolate-with", str(RUN), "--weight", "7"),
            "A weight is between 0 and 1",
        ),
        ("model.onnx", ("--change-gating-db", "nan"), "decibels above 0; it is nan"),
        ("model.onnx", ("--change-gating-db", "inf"), "decibels above 0; it is inf"),
        ("model.onnx", ("--change-gating-db", "0"), "decibels above 0; it is 0"),
        ("model.onnx", ("--change-gating-db", "-3"), "decibels above 0; it is -3"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence_and_leaves_no_file(
    tmp_path: Path, name: str, asked: tuple[str, ...], sentence: str
) -> None:
    (tmp_path / "folder.onnx").mkdir()
    command = ["export", str(RUN), str(tmp_path / name), *asked]
    with pytest.raises(CmudrnError, match=sentence):
        CliRunner().invoke(app, command, catch_exceptions=False)
    assert [path.name for path in tmp_path.rglob("*")] == ["folder.onnx"]


def test_a_model_between_two_runs_names_both(tmp_path: Path) -> None:
    other, model = RUNS / "longer" / "cmudrn-paper" / "last.safetensors", tmp_path / "model.onnx"
    export_checkpoint(RUN / "last.safetensors", model, interpolate_with=other, weight=0.25)
    said = open_engine(model, threads=1).info.metadata
    assert said["training"]["step"] == 700
    assert said["interpolated_with"]["weight"] == 0.25
    assert said["interpolated_with"]["sha256"] == hashlib.sha256(other.read_bytes()).hexdigest()
    assert said["interpolated_with"]["training"]["step"] == 3500


def test_runs_behind_different_context_branches_are_not_blended(tmp_path: Path) -> None:
    plain, behind = (RUNS / name / "last.safetensors" for name in ("cmudrn", "cmudrn-context"))
    for one, other in ((plain, behind), (behind, plain)):
        with pytest.raises(CmudrnError, match="not trained with the same veil estimator"):
            export_checkpoint(one, tmp_path / "model.onnx", interpolate_with=other, weight=0.5)
    assert not list(tmp_path.iterdir())


def test_a_context_branch_is_found_beside_the_run_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    decoy = tmp_path / "docs" / "runs" / "context-final" / "last.safetensors"
    decoy.parent.mkdir(parents=True)
    shutil.copy(RUNS / "context" / "last.safetensors", decoy)  # another branch of the same name
    run = RUNS / "cmudrn-context" / "last.safetensors"
    assert open_checkpoint(run).info.veil_weights is not None
    export_checkpoint(run, tmp_path / "model.onnx")
    assert open_engine(tmp_path / "model.onnx", threads=1).info.veil_weights is not None
    alone = Path(shutil.copy(run, tmp_path / "alone.safetensors"))
    with pytest.raises(CmudrnError, match="is not the one that the run"):
        open_checkpoint(alone)
    decoy.unlink()
    with pytest.raises(
        CmudrnError, match=r"data.veil_estimator of the run .*alone.safetensors names"
    ):
        open_checkpoint(alone)


def test_a_context_branch_alone_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(CmudrnError, match=r"last.safetensors holds a veil estimator, which"):
        export_checkpoint(RUNS / "context" / "last.safetensors", tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_an_export_replaces_a_model_only_when_asked_and_never_a_checkpoint(tmp_path: Path) -> None:
    checkpoint, model = tmp_path / "checkpoint.onnx", tmp_path / "model.onnx"
    shutil.copy(RUN / "last.safetensors", checkpoint)
    before = checkpoint.read_bytes()
    model.write_text("something else")
    with pytest.raises(CmudrnError, match=r"model.onnx exists already"):
        export_checkpoint(checkpoint, model)
    assert model.read_text() == "something else"
    for source, other in ((checkpoint, None), (RUN / "last.safetensors", checkpoint)):
        with pytest.raises(CmudrnError, match="would overwrite itself"):
            export_checkpoint(source, checkpoint, interpolate_with=other, overwrite=True)
    assert checkpoint.read_bytes() == before
    export_checkpoint(checkpoint, model, overwrite=True)
    assert open_engine(model, threads=1).info.name == "cmudrn"


def test_a_checkpoint_becomes_a_plain_file(tmp_path: Path) -> None:
    plain = tmp_path / "plain.onnx"
    asked = ["export", str(RUN), str(plain), "--plain", "--stages", "1", "--name", "mine"]
    result = CliRunner().invoke(app, asked, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    info = open_engine(plain, threads=1).info
    assert (info.name, info.stages, info.adjustable) == ("mine", 1, False)
    assert list(tmp_path.iterdir()) == [plain]
