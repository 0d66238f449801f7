"""Exit codes of every command: 2 where a value on the command line is none, 1 where one fails."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from cmudrn.cli import app, main
from cmudrn.image import write_image

WRONG = [
    "restore a.png --strength 2",
    "restore a.png --format gif",
    "restore a.png --subsampling 411",
    "restore a.png --quality 0",
    "restore a.png --engine none",
    "restore a.png --precision fp8",
    "restore a.png --device none",
    "restore a.png --threads 100000",
    "restore a.png --stages 7",
    "restore a.png --codec none",
    "restore a.png -o b.gif",
    "restore a.png -o b.xyz",
    "restore a.png -o b.mp4",
    "restore a.png -o b.jpg --format png",
    "restore a.png a.tif -o b.png",
    "restore a.png --overwrite --skip-existing",
    "restore --frames rgb24 0x4 -",
    "restore --frames none 4x4 -",
    "batch in out --strength 2",
    "batch in out --stages 7",
    "batch in in",
    "batch in out --device none",
    "watch in --seconds 0",
    "watch in -o b.xyz --seconds 0",
    "watch in -o b.gif --seconds 0",
    "watch in -o in --seconds 0",
    "watch in -o out --stages 7 --seconds 0",
    "watch in -o out --record r.mkv --seconds 0",
    "watch in -o out --publish 127.0.0.1:0 --seconds 0",
    "weather hail in out",
    "weather snow in out --severity 9",
    "weather snow in out --preset none",
    "weather snow in out --streaks in",
    "doctor in",
    "doctor none:in",
    "evaluate cmudrn --data in",
    "evaluate cmudrn",
    "evaluate cmudrn --data folder:in --protocols none",
    "evaluate cmudrn --data folder:in --detector a.png",
    "evaluate cmudrn --data folder:in --downstream --pictures scores.csv",
    "evaluate cmudrn --data folder:in --downstream --protocols ssim_rgb",
    "evaluate cmudrn --data folder:in --downstream --costs",
    "evaluate cmudrn --data folder:in --downstream --no-intervals",
    "sheet cmudrn out.xyz --data folder:in",
    "sheet cmudrn out.png",
    "sheet cmudrn out.png --data folder:in --crop 1,2",
    "serve --port 100000",
    "serve --device none",
    "study loops",
    "train recipe",
    "parity --side 3",
    "page",
    "bench --engine none",
    "export --plain cmudrn model.bin",
]
"""Commands with one value that is none."""

FAILING = [
    "restore none.png",
    "restore ''",
    "restore a.png -o a.png",
    "restore a.png -o there.png",
    "restore a.png --model none",
    "restore empty.png",
    "restore none -o out",
    "batch none out",
    "batch in out --device directml",
    "restore a.png --device directml",
    "watch none -o out",
    "weather snow none out",
    "doctor folder:none",
    "verify a.png",
    "evaluate cmudrn --data folder:none",
    "evaluate cmudrn --data folder:in --downstream --detector none.tflite",
    "evaluate cmudrn --data folder:in --downstream --detector a.png",
    "serve --token-file none",
    "serve --port 0 --device directml",
    "page there.png",
    "bench --model none",
]
"""Commands that are right, for something that is not there or may not be written."""


Capture = pytest.CaptureFixture[str]


def run(line: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Run a command line; return its exit code and what it complained of."""
    words = [word.strip("'") for word in line.split()]
    monkeypatch.setattr(sys, "argv", ["cmudrn", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    if "needs the extra" in said:
        pytest.skip(said)
    return int(ended.value.code or 0), said


@pytest.fixture(autouse=True)
def files_to_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder with a few files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for name in ("a.png", "a.tif", "there.png", "in/a.png"):
        write_image(np.zeros((8, 9, 3), np.uint8), tmp_path / name)
    (tmp_path / "empty.png").touch()


@pytest.mark.parametrize("line", WRONG)
def test_a_value_that_is_none_is_2(
    line: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(tmp_path.rglob("*"))
    code, said = run(line, capsys, monkeypatch)
    assert code == 2 and "No such option" not in said, said
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("line", FAILING)
def test_what_fails_is_1(line: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    code, said = run(line, capsys, monkeypatch)
    assert code == 1 and said.count("cmudrn: ") == 1, said


def test_the_lists_have_every_command_that_takes_values() -> None:
    named = {line.split()[0] for line in (*WRONG, *FAILING)}
    callbacks = [command.callback for command in app.registered_commands if command.callback]
    commands = {command.name for command in app.registered_commands if command.name}
    commands |= {callback.__name__ for callback in callbacks}
    assert commands - named == {"models", "desktop"}
