"""`cmudrn parity`: what it prints, and what is refused."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cmudrn.cli import app
from cmudrn.errors import CmudrnError

RUNNER = CliRunner()


def test_onnx_is_the_measure_of_all(identity_model: Path) -> None:
    command = ["parity", str(identity_model), "--side", "32", "--rounds", "1"]
    result = RUNNER.invoke(app, command, catch_exceptions=False)
    first = next(line for line in result.stdout.splitlines() if line.startswith("onnx fp32"))
    assert first.split()[2:5] == ["0", "inf", "0.0000"]


def test_no_such_model_is_one_sentence() -> None:
    with pytest.raises(CmudrnError, match="There is no model 'nosuch'"):
        RUNNER.invoke(app, ["parity", "nosuch"], catch_exceptions=False)
