"""The documentation names only what exists: files, headings, commands, options and modules."""

from __future__ import annotations

import ast
import pkgutil
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from cmudrn.cli import app
from cmudrn.config import PRESETS
from cmudrn.weather import WEATHERS

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "docs/results/*.md", "samples/*.md", "tests/data/*.md")
    for path in ROOT.glob(pattern)
)
SOURCES = (ROOT / "src" / "cmudrn", ROOT)
"""Folders that a path in backticks may begin in."""

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:^|\| |-m )cmudrn ([a-z]+)\b(.*)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
MODULE = re.compile(r"`((?:[a-z_][\w-]*/)+[a-z_][\w.-]*\.(?:py|toml|json|cpp))(?::[^`]*)?`")

DOTTED = re.compile(r"`(cmudrn(?:\.[A-Za-z_]\w*)+)[`(]")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


@cache
def commands() -> dict[str, set[str]]:
    """Return the long options of each command of `cmudrn`."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    options = {"": {"--version", "--help", "--install-completion", "--show-completion"}}
    for name, command in group.commands.items():
        named = {"--help"}
        for parameter in command.params:
            named.update(parameter.opts, parameter.secondary_opts)
        options[name] = named
    return options


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#{1,6} +(.*)$", text, re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in kept}


def links(page: Path) -> Iterator[str]:
    """Yield the relative targets of a page's links and figures."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for link, figure in LINK.findall(text):
        if not re.match(r"[a-z]+:", link or figure):
            yield link or figure


@each_page
def test_links_and_anchors_exist(page: Path) -> None:
    missing = []
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            missing.append(link)
    assert not missing


def test_every_page_is_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        found = {(page.parent / link.partition("#")[0]).resolve() for link in links(page)}
        waiting += [path for path in found - reached if path.suffix == ".md"]
    assert not {page for page in PAGES if page.is_relative_to(ROOT / "docs")} - reached


def code(page: Path) -> Iterator[str]:
    """Yield the lines of code of a page: blocks, with continued lines joined, and spans."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = "\n".join(match.group() for match in FENCE.finditer(text)).splitlines()
    rest = FENCE.sub("", text)
    indented = [line for line in rest.splitlines() if line.startswith("    ")]
    spans = re.findall(r"`([^`]+)`", "\n".join(set(rest.splitlines()) - set(indented)))
    for line in (*blocks, *indented, *spans):
        yield line.strip()


def named_commands(page: Path) -> Iterator[tuple[str, set[str]]]:
    """Yield (command, its long options) for each call of `cmudrn` in a page's code."""
    for line in code(page):
        for name, rest in COMMAND.findall(line):
            yield name, set(OPTION.findall(re.split(r"\s[|#;]\s?", rest)[0]))


@each_page
def test_no_sentence_becomes_a_list(page: Path) -> None:
    """A line of prose that begins with a number and a full stop is the item of a list."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    assert not re.findall(r"^[^\W\d].*\n(\d+[.)] .*)$", text, re.MULTILINE)


@each_page
def test_commands_and_their_options_exist(page: Path) -> None:
    known, wrong = commands(), []
    for name, named in named_commands(page):
        if name not in known:
            wrong.append(f"cmudrn {name}")
        else:
            wrong += [f"cmudrn {name} {option}" for option in sorted(named - known[name])]
    assert not wrong


def command_lines(page: Path) -> Iterator[str]:
    """Yield the lines of a page's blocks of code, with continued lines joined."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for match in FENCE.finditer(text):
        yield from map(str.strip, match.group().splitlines())
    yield from (line.strip() for line in FENCE.sub("", text).splitlines() if line[:4] == "    ")


@each_page
def test_command_lines_parse(page: Path) -> None:
    group, wrong = typer.main.get_command(app), []
    assert isinstance(group, TyperGroup)
    for line in command_lines(page):
        if found := re.match(r"(?:\| )?cmudrn ([a-z]+) (.*)", line):
            words = shlex.split(re.split(r" [|>] ", found[2])[0], comments=True)
            try:
                group.commands[found[1]].make_context(found[1], words)
            except Exception as error:
                wrong.append(f"{line}: {error}")
    assert not wrong


@each_page
def test_scripts_and_their_options_exist(page: Path) -> None:
    wrong = []
    for line in command_lines(page):
        for script, rest in re.findall(r"python ((?:tools|benchmarks)/\S+\.py)(.*)", line):
            path = ROOT / script
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            named = OPTION.findall(re.sub(r"--options=\S+|\"[^\"]*\"", "", rest.split(" #")[0]))
            if not text or any(f'"{option}"' not in text for option in named):
                wrong.append(line)
    assert not wrong


@each_page
def test_examples_in_python_import_what_exists(page: Path) -> None:
    for match in re.finditer(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for node in ast.walk(ast.parse(match[1])):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cmudrn"):
                for name in node.names:
                    pkgutil.resolve_name(f"{node.module}:{name.name}")


@each_page
def test_modules_and_files_in_backticks_exist(page: Path) -> None:
    named = MODULE.findall(page.read_text(encoding="utf-8"))
    missing = [path for path in named if not any((start / path).exists() for start in SOURCES)]
    assert not missing


@each_page
def test_options_named_alone_exist(page: Path) -> None:
    spans = re.findall(r"`(--[a-z][a-z-]*)[^`]*`", page.read_text(encoding="utf-8"))
    known = set().union(*commands().values())
    for script in (*ROOT.glob("benchmarks/*.py"), *ROOT.glob("tools/*.py")):
        known.update(re.findall(r'"(--[a-z][a-z-]*)"', script.read_text(encoding="utf-8")))
    assert not {option for option in spans if option not in known}


@each_page
def test_dotted_names_can_be_imported(page: Path) -> None:
    for name in DOTTED.findall(page.read_text(encoding="utf-8")):
        if not name.endswith((".onnx", ".toml")):
            pkgutil.resolve_name(name)


def test_pages_say_how_to_install_an_extra_that_is_not_published() -> None:
    wrong = [page.name for page in PAGES if "pip install 'cmudrn[" in page.read_text("utf-8")]
    assert not wrong


def test_every_command_is_documented() -> None:
    assert set(commands()) - {""} <= {name for page in PAGES for name, _ in named_commands(page)}


@pytest.mark.parametrize("preset", sorted(path.stem for path in PRESETS.glob("*.toml")))
def test_every_preset_is_documented(preset: str) -> None:
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    assert f"`{preset}`" in page


@pytest.mark.parametrize("weather", sorted(WEATHERS))
def test_every_weather_is_documented(weather: str) -> None:
    page = (ROOT / "docs" / "weather.md").read_text(encoding="utf-8")
    assert f"`{weather}`" in page
