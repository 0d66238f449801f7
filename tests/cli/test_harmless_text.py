"""Names that hold escapes, line breaks or formulas do no harm, whatever command prints them."""

from __future__ import annotations

import ast
import csv
import io
import os
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import cmudrn.cli
from cmudrn.cli import app
from cmudrn.cli.terminal import complain, note, say, show, show_count, show_json
from cmudrn.evaluation.table import to_csv, to_latex, to_markdown
from cmudrn.image import Picture, encode_picture

EVIL = "=a\x1b]0;title\x07\nSound: no wrong file. \x9b31m\u202e|&\\input{x}"
"""A title for the terminal, a second line, a colour, a change of direction, a formula, LaTeX."""

PRINTS = {"print", "echo", "secho", "pprint"}


def is_harmless(text: str) -> bool:
    return all(line.isprintable() for line in text.splitlines())


@pytest.mark.parametrize("path", sorted(Path(cmudrn.cli.__path__[0]).glob("*.py")))
def test_only_one_module_prints(path: Path) -> None:
    """What it prints is harmless (below), so all that commands print is."""
    found = [
        call.lineno
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and (
            (isinstance(call.func, ast.Name) and call.func.id in PRINTS)
            or (isinstance(call.func, ast.Attribute) and call.func.attr in PRINTS)
            or ast.unparse(call.func) in ("sys.stdout.write", "sys.stderr.write")
        )
    ]
    assert not found or path.name == "terminal.py", f"{path.name} prints at lines {found}"


def test_what_it_prints_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    complain(EVIL)
    note(EVIL)
    say(EVIL)
    show(EVIL, EVIL)
    show(EVIL, err=True)
    show_json({EVIL: EVIL})
    show_count(EVIL, last=True)
    printed = capsys.readouterr()
    assert (
        len(printed.out.splitlines()) == 4 and len(printed.err.replace("\r", "").split("\n")) == 5
    )
    assert is_harmless(printed.out) and is_harmless(printed.err.replace("\r", "\n"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of files with a hostile name: an image, damaged ones, a link."""
    name = EVIL.replace("/", "")[:60]
    try:
        place = tmp_path / "in"
        place.mkdir()
        image = encode_picture(Picture(np.full((24, 32, 3), 120, np.uint8)), "png")
        (place / f"{name}.png").write_bytes(image)
        (place / f"bad{name}.png").write_bytes(b"no image")
        (place / f"clip{name}.mp4").write_bytes(b"no video")
        (place / f"model{name}.onnx").write_bytes(b"no model")
        (place / f"link{name}.png").symlink_to("/etc/hostname")
    except OSError:
        pytest.skip("such names are not possible here")
    return place


COMMANDS: dict[str, list[str]] = {
    "restore": ["restore", "{folder}", "-o", "{folder}.out", "--model", "{model}", "-v"],
    "restore as JSON": [
        "restore",
        "{folder}",
        "-o",
        "{folder}.out",
        "--model",
        "{model}",
        "--json",
    ],
    "restore with a model": [
        "restore",
        "{image}",
        "-o",
        "{folder}/o.png",
        "--model",
        "{bad_model}",
    ],
    "verify": ["verify", "{image}"],
    "doctor": ["doctor", "folder:{folder}"],
    "doctor as JSON": ["doctor", "folder:{folder}", "--json"],
    "weather": ["weather", "rain", "{folder}", "{folder}.out"],
    "evaluate": ["evaluate", "{model}", "--data", "folder:{folder}", "--weather", "light-rain"],
    "sheet": ["sheet", "{model}", "{folder}.png", "--photos", "{folder}"],
    "watch": ["watch", "{clip}", "-o", "{folder}.out.png", "--model", "{model}"],
    "serve": ["serve", "--model", "{bad_model}"],
}


@pytest.mark.parametrize("what", COMMANDS)
def test_no_command_prints_a_name_raw(what: str, folder: Path, darkening_model: Path) -> None:
    names = {path.name[:4]: str(path) for path in folder.iterdir()}
    image = next(path for start, path in names.items() if start[0] == "=")
    known = {
        "folder": str(folder),
        "model": str(darkening_model),
        "image": image,
        "bad_model": names["mode"],
        "clip": names["clip"],
    }
    words = [word.format(**known) for word in COMMANDS[what]]
    done = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    error = done.exception
    # The command line's own frame prints this sentence with `complain`.
    printed = done.output if error is None or isinstance(error, SystemExit) else ""
    assert is_harmless(printed), printed
    assert "\nSound: no wrong file. " not in printed
    if error is not None and not isinstance(error, SystemExit):
        assert isinstance(error, cmudrn.CmudrnError | ImportError), repr(error)


def test_cells_are_no_formulas_and_no_markup() -> None:
    heading = ["set", "n", "model", "PSNR"]
    for cell in (
        EVIL,
        "=1+1",
        "+1+x",
        "-1+x",
        "@SUM(1)",
        "\t=1",
        "\r=1",
        "\n=1",
        " =1",
        "\uff1d1+1",
    ):
        (_, row) = csv.reader(io.StringIO(to_csv([heading, [cell, "1", "a", "-1.5"]])))
        assert row[0].strip()[0] not in "=+-@\uff1d" and row[0].isprintable()
        assert row[3] == "-1.5"
        table = to_markdown([heading, [cell, "1", "a", "2"]]).splitlines()
        assert len(table) == 3 and table[2].count("|") == 5
        assert r"\input{" not in to_latex([heading, [cell, "1", "a", "2"]])


def test_a_name_that_is_no_text_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    say(os.fsdecode(b"a\xff\x1b.png"))
    assert is_harmless(capsys.readouterr().out)
