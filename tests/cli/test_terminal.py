"""What all commands share: version, help, quiet and verbose, error sentences, progress."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, get_args

import pytest
import typer
from typer.testing import CliRunner

import cmudrn
from cmudrn.cli import app
from cmudrn.cli.help import with_metavar
from cmudrn.cli.progress import INTERVAL_S, Lines
from cmudrn.cli.terminal import begin, describe, missing_extra
from cmudrn.errors import CmudrnError, LimitExceededError, TargetError
from cmudrn.files import printable

COMMANDS = [entry.callback.__name__ for entry in app.registered_commands if entry.callback]


def test_the_version() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.stdout) == (0, f"cmudrn {cmudrn.__version__}\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_the_short_options(command: str) -> None:
    done = CliRunner().invoke(app, [command, "-h"], env={"COLUMNS": "80"})
    assert done.exit_code == 0
    assert "--quiet" in done.stdout and "--verbose" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    # No type behind a flag, no "--x/--no-x" for what is off anyway, no frame, no cut sentence.
    assert not re.search(r"<(bool|str|int|float|path|list)|--no-(over|branch|cost)", done.stdout)
    assert done.stdout.isascii()


def test_common_options_stand_before_the_panels() -> None:
    text = CliRunner().invoke(app, ["restore", "-h"], env={"COLUMNS": "80"}).stdout
    titles = re.findall(r"^(\w[\w ]*):\n", text, re.MULTILINE)
    panels = ["Result", "Network and speed", "Video", "Which files are read"]
    assert titles == ["Arguments", "Options", *panels]
    common, rest = text.split("Result:")
    assert "  -o, --output PATH  File" in common and "--overwrite        Replace" in common
    assert "--codec NAME" in rest and "--no-change-gating" in rest


@pytest.mark.parametrize(
    "annotation, metavar",
    [
        (list[Path] | None, "PATH"),
        (int | None, "N"),
        (float, "N"),
        (str, "TEXT"),
        (list[str], "TEXT"),
        (bool, None),
    ],
)
def test_a_value_is_named_in_a_word(annotation: Any, metavar: str | None) -> None:
    info = typer.Option()
    kind = inspect.Parameter.KEYWORD_ONLY
    given = inspect.Parameter("x", kind, annotation=Annotated[annotation, info])
    assert get_args(with_metavar(given).annotation)[1].metavar == metavar
    assert info.metavar is None


def test_the_list_of_commands_cuts_no_sentence() -> None:
    text = CliRunner().invoke(app, ["-h"], env={"COLUMNS": "80"}).stdout
    assert "..." not in text.partition("Commands:")[2]
    assert max(map(len, text.splitlines())) <= 80


def test_the_help_tells_the_exit_codes_and_knows_completion() -> None:
    done = CliRunner().invoke(app, ["-h"], env={"COLUMNS": "80"})
    assert "Exit codes" in done.stdout and "--install-completion" in done.stdout


def test_no_colour_where_none_is_wanted() -> None:
    done = CliRunner().invoke(app, ["-h"], env={"NO_COLOR": "1"}, color=True)
    assert "\x1b[3" not in done.stdout


@pytest.mark.parametrize(
    "error, sentence",
    [
        (
            TargetError("a exists already.", exists=True),
            "a exists already (--overwrite replaces it).",
        ),
        (TargetError("a is a folder."), "a is a folder."),
        (LimitExceededError("a is large.", limit_name="max_pixels"), "a is large (--max-pixels)."),
        (LimitExceededError("a is large.", limit_name="chunks"), "a is large."),
        (CmudrnError("a is wrong."), "a is wrong."),
    ],
)
def test_the_option_that_helps_is_named(error: CmudrnError, sentence: str) -> None:
    begin(0, frozenset({"overwrite", "max_pixels"}))
    assert describe(error) == sentence
    begin(0, frozenset())
    assert describe(error) == str(error)


def test_import_errors_name_the_extra() -> None:
    for package, extra in {"torch": "train", "scipy.ndimage": "evaluate", "av": "video"}.items():
        missing = missing_extra(ImportError(name=package))
        assert missing is not None and missing.extra == extra
        assert f"pip install '.[{extra}]'" in str(missing)
    assert missing_extra(ImportError(name="cmudrn.nothing")) is None


@pytest.mark.parametrize("text", ["\x1b]0;title\x07", "a\nb", "\u202egpj", "\x9b31m", "\r"])
def test_text_is_harmless_on_a_terminal(text: str) -> None:
    assert printable(text).isprintable()


def test_a_line_every_ten_seconds() -> None:
    now, written = [0.0], list[str]()
    lines = Lines(2, clock=lambda: now[0], write=written.append)
    for path in (Path("a.png"), Path("b.png")):
        on_part = lines.start(path)
        for part in range(1, 11):
            now[0] += 3
            on_part(part, 10)
    assert now[0] == 60
    assert len(written) == 60 // (INTERVAL_S + 2)  # at 12, 24, 36 seconds and so on
    assert written[0] == "file 1 of 2, a.png: 40% after 12 s"
    assert written[-1] == "file 2 of 2, b.png: 100% after 60 s"


def test_a_package_that_is_missing_is_one_sentence() -> None:
    script = """if True:
        import sys
        class Missing:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in ("scipy", "skimage"):
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        sys.meta_path.insert(0, Missing())
        sys.argv = ["cmudrn", "weather", "rain", sys.argv[1], sys.argv[2]]
        from cmudrn.cli import main
        main()
    """
    done = subprocess.run(
        [sys.executable, "-c", script, "nowhere", "target"], capture_output=True, timeout=60
    )
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_doctor_prints_no_name_raw(tmp_path: Path, options: tuple[str, ...]) -> None:
    for name in ("a\x1b]0;title\x07.png", "b\x9b31m.png", "c\u202e.png"):
        (tmp_path / name).write_bytes(b"no picture")
    done = CliRunner().invoke(app, ["doctor", f"folder:{tmp_path}", *options])
    assert all(line.isprintable() for line in done.stdout.splitlines())
    assert ".png" in done.stdout
