"""Every training photograph is listed with its source and licence."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from typer.testing import CliRunner

from cmudrn.cli import app
from cmudrn.models import shipped_models
from cmudrn.models.credits import training_photographs


def test_every_training_photograph_has_a_source_and_a_licence() -> None:
    photographs = training_photographs()
    assert len({x.file for x in photographs}) == len(photographs) == 460
    assert all(x.source and x.path_in_source and x.licence for x in photographs)


def test_the_list_is_that_of_the_photographs(shared_data: Path) -> None:
    folders = (shared_data / "clean" / name for name in ("train", "train_urban"))
    there = {f"{path.parent.name}/{path.name}" for folder in folders for path in folder.iterdir()}
    assert there == {x.file for x in training_photographs()}


def test_the_command_names_every_photograph() -> None:
    photographs = training_photographs()
    printed = CliRunner().invoke(app, ["models", "--credits"]).stdout.splitlines()
    for x, line in zip(photographs, printed, strict=True):
        assert x.file in line and x.licence in line and x.author in line
    as_json = CliRunner().invoke(app, ["models", "--credits", "--json"]).stdout
    assert json.loads(as_json) == [asdict(x) for x in photographs]


def test_every_shipped_model_has_a_card() -> None:
    cards = Path(__file__).parents[2] / "docs" / "cards"
    for name, model in shipped_models().items():
        assert model.sha256 in (cards / f"{name}.md").read_text(encoding="utf-8")
