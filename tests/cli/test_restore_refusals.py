"""What `cmudrn restore` refuses, and what does not stop it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image as Pillow
from support.commands import files, make_picture, run
from typer.testing import CliRunner

from cmudrn.cli import app
from cmudrn.files import claim_target


def test_a_missing_input_does_not_stop_the_rest(tmp_path: Path, identity_model: Path) -> None:
    for name in ("a.png", "b.png"):
        make_picture(tmp_path / name)
    inputs = ("a.png", "nope.png", "", "no*.png", "b.png")
    done = run("restore", *inputs, "-o", "out", "--model", identity_model, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [
        "cmudrn: There is no file nope.png.",
        "cmudrn: A file's name is empty.",
        "cmudrn: There is no file no*.png.",
        "cmudrn: 3 of 5 files were not restored.",
    ]
    assert files(tmp_path / "out") == ["a.png", "b.png"]


@pytest.mark.parametrize("depth", [("--stages", 1), ("--recursions", 3)])
def test_the_default_model_has_one_depth(tmp_path: Path, depth: tuple[str, int]) -> None:
    make_picture(tmp_path / "a.png")
    done = run("restore", "a.png", *depth, cwd=tmp_path)
    assert done.returncode == 2 and files(tmp_path) == ["a.png"]
    assert b"cmudrn has a fixed depth; cmudrn-25k lets" in done.stderr


@pytest.mark.parametrize(
    "arguments, code, sentence",
    [
        (["a.png", "--model", "nosuch"], 1, "There is no model 'nosuch'"),
        (["a.png", "--model", "nosuch.onnx"], 1, "There is no model file nosuch.onnx"),
        (["a.png", "--model", "a.png"], 1, "is not a usable ONNX model"),
        (["nosuch.png"], 1, "There is no file nosuch.png"),
        (["nosuch*.png"], 1, "There is no file nosuch*.png"),
        (["a.png", "--engine", "steam"], 2, "There is no engine 'steam'"),
        (["empty"], 1, "no picture among the inputs"),
        (["a.png", "b.png", "-o", "c.png"], 2, "name a folder"),
        (["a.png", "-o", "a.png", "--overwrite"], 1, "would overwrite itself"),
        (["a.png", "-o", "b.png"], 1, "exists already"),
        (["a.png", "-o", "c.mp4"], 2, "a.png is a picture; c.mp4 is the name of a video."),
        (["c.MOV", "-o", "c.png"], 2, "c.MOV is a video; c.png is the name of a picture."),
        (["a.png", "--format", "png", "-o", "c.JPG"], 2, "c.JPG is the name of a jpeg, and"),
        (["-", "--format", "png", "-o", "c.jpg"], 2, "and the format asked for is png."),
        (["-", "-o", "c.mp4"], 2, "does not end in a known suffix"),
        (["a.png", "-o", "a.png/out"], 1, "is not a folder to write to"),
        (["a.png", "-o", "text.txt/out/"], 1, "is not a folder to write to"),
        (["a.png", "--max-pixels", "10"], 1, "--max-pixels"),
        (["a.png", "--max-bytes", "10"], 1, "--max-bytes"),
        (["rgba.png", "--format", "jpeg"], 1, "transparency"),
        (["a.png", "--strength", "2"], 2, "--strength"),
        (["a.png", "--stages", "0"], 2, "--stages"),
        (["a.png", "--format", "gif"], 2, "jpeg, png, tiff, webp, bmp, avif"),
        (["a.png", "--subsampling", "422"], 2, "auto, 444, 420"),
        (["a.png", "--nosuch"], 2, "No such option"),
        (["-", "a.png"], 2, "single picture"),
        (["-", "--layers"], 2, "Standard input and output go without --layers."),
        (["a.png", "-o", "-", "--score", "--gate"], 2, "go without --score and --gate."),
        (["nope.mp4", "-o", "c.png"], 1, "There is no file nope.mp4"),
    ],
)
def test_refusals_write_nothing(
    tmp_path: Path, tiny_model: Path, arguments: list[str], code: int, sentence: str
) -> None:
    for name in ("a.png", "b.png", "sub/a.png"):
        make_picture(tmp_path / name)
    Pillow.new("RGBA", (4, 4)).save(tmp_path / "rgba.png")
    (tmp_path / "text.txt").write_text("x")
    (tmp_path / "c.MOV").touch()
    (tmp_path / "empty").mkdir()
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    if "--model" not in arguments:
        arguments = [*arguments, "--model", str(tiny_model)]
    done = run("restore", *arguments, cwd=tmp_path, env=os.environ | {"COLUMNS": "200"})
    assert done.returncode == code
    assert sentence in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    if code == 1:
        assert len(done.stderr.decode().splitlines()) == 1
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before


def run_bound(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    """Run as somebody whom permissions bind, which they do not bind root."""
    bound = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"] if os.geteuid() == 0 else []
    if bound and not shutil.which("setpriv"):
        pytest.skip("root cannot give its rights away here")
    command = [*bound, sys.executable, "-m", "cmudrn", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, cwd=cwd, timeout=60)


@pytest.fixture
def forbidden(tmp_path: Path) -> Iterator[Path]:
    """A folder that may not be looked into."""
    if os.name != "posix":
        pytest.skip("permissions of folders are POSIX")
    folder = tmp_path / "forbidden"
    folder.mkdir()
    folder.chmod(0)
    yield folder
    folder.chmod(0o700)


@pytest.mark.parametrize("options", [(), ("--layers",), ("--evidence",)])
def test_a_name_too_long_does_not_stop_the_rest(
    tmp_path: Path, tiny_model: Path, options: tuple[str, ...]
) -> None:
    stem = "x" * (240 if options else 248)  # .restored, .removed-rain or .evidence.json is added
    make_picture(tmp_path / f"{stem}.png")
    make_picture(tmp_path / "z.png")
    done = run("restore", f"{stem}.png", "z.png", *options, "--model", tiny_model, cwd=tmp_path)
    assert done.returncode == 1
    assert b"Cannot write xxx" in done.stderr and b"Traceback" not in done.stderr
    assert (tmp_path / "z.restored.png").exists()


def test_forbidden_places(tmp_path: Path, tiny_model: Path, forbidden: Path) -> None:
    make_picture(tmp_path / "a.png")
    for options, sentence in [
        (("-o", forbidden / "b.png", "--model", tiny_model), b"Cannot write"),
        (("--model", forbidden / "m.onnx"), b"Cannot read"),
    ]:
        done = run_bound("restore", "a.png", *options, cwd=tmp_path)
        assert done.returncode == 1
        assert sentence in done.stderr and b"Permission denied." in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_an_error_of_the_system_does_not_stop_the_rest(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("cmudrn.photos.restore_photo", fail)
    for name in ("a.png", "b.png"):
        make_picture(tmp_path / name)
    arguments = ["restore", str(tmp_path), "--json", "--model", str(tiny_model)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    errors = [json.loads(line)["error"] for line in done.stdout.splitlines()]
    assert errors == [
        f"Cannot restore {tmp_path / name}: Input/output error." for name in ("a.png", "b.png")
    ]


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (("a.jpg", "a.png", "--layers", "-o", "lay"), b"would both become lay/a.removed-rain.png"),
        (("d/x.jpg", "x.removed-rain.png", "--layers", "-o", "."), b"x.removed-rain.png, which is"),
        (("d/b.png", "b.png", "-o", "."), b"d/b.png would overwrite b.png, which is an input too"),
    ],
)
def test_inputs_do_not_cost_each_other_anything(
    tmp_path: Path, tiny_model: Path, arguments: tuple[str, ...], sentence: bytes
) -> None:
    for name in ("a.jpg", "a.png", "d/x.jpg", "x.removed-rain.png", "d/b.png", "b.png"):
        make_picture(tmp_path / name)
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    done = run("restore", *arguments, "--overwrite", "--model", tiny_model, cwd=tmp_path)
    assert done.returncode == 1
    assert sentence in done.stderr and b"Traceback" not in done.stderr
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before


def test_results_of_an_earlier_run_among_the_inputs_stop_nothing(
    tmp_path: Path, tiny_model: Path
) -> None:
    make_picture(tmp_path / "a.png")
    for expected in (0, 1):  # the second run finds a.restored.png, and keeps it
        done = run("restore", "a*.png", "--model", tiny_model, cwd=tmp_path)
        assert done.returncode == expected
    assert b"it is a result of a.png." in done.stderr and b"exists already" in done.stderr
    assert files(tmp_path) == ["a.png", "a.restored.png"]


def test_layers_of_two_clips_collide(tmp_path: Path, tiny_model: Path) -> None:
    pytest.importorskip("support.clips", reason="the extra video is not installed")
    (tmp_path / "other").mkdir()
    for name in ("a.mp4", "other/a.removed-rain.mp4"):
        (tmp_path / name).touch()
    done = run("restore", "a.mp4", "other/a.removed-rain.mp4", "-o", "out", "--layers",
               "--model", tiny_model, cwd=tmp_path)  # fmt: skip
    assert done.returncode == 1
    assert b"would both become out/a.removed-rain.mp4" in done.stderr


def test_a_folder_that_cannot_be_read_is_told(
    tmp_path: Path, identity_model: Path, forbidden: Path
) -> None:
    make_picture(tmp_path / "a.png")
    (tmp_path / "out").mkdir()
    command = ("restore", ".", "-o", "out", "--model", identity_model)
    done = run_bound(*command, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        b"cmudrn: Cannot read forbidden: Permission denied.",
        b"cmudrn: 1 of 2 files were not restored.",
    ]
    assert files(tmp_path / "out") == ["a.png"]
    done = run_bound("restore", "forbidden", "-o", "out", "--model", identity_model, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == b"cmudrn: Cannot read forbidden: Permission denied.\n"


def test_a_name_cannot_write_on_the_terminal() -> None:
    done = run("restore", "no\n\x1b[31msuch.png")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1 and b"\x1b" not in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="links need no rights there")
def test_a_link_to_itself(tmp_path: Path, tiny_model: Path) -> None:
    make_picture(tmp_path / "in" / "sub" / "a.png")
    (tmp_path / "loop").symlink_to("loop")
    done = run("restore", "in", "-o", "loop", "--model", tiny_model, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(b"cmudrn: Cannot ") and b"Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_so_many_threads_are_refused(tmp_path: Path, tiny_model: Path) -> None:
    make_picture(tmp_path / "a.png")
    done = run("restore", "a.png", "--threads", 100_000, "--model", tiny_model, cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert b"threads" in done.stderr and b"1024" in done.stderr and b"100000" in done.stderr


@pytest.mark.parametrize("name", ["clean.gif", "clean.jxl", "clean.heic", "clean.xyz"])
def test_an_output_of_unknown_kind_is_refused(tmp_path: Path, name: str) -> None:
    make_picture(tmp_path / "a.png")
    done = run("restore", "a.png", "-o", name, cwd=tmp_path)
    assert done.returncode == 2 and b"known suffix" in done.stderr
    assert files(tmp_path) == ["a.png"] and not (tmp_path / name).exists()


def test_files_that_clash_do_not_stop_the_rest(tmp_path: Path, tiny_model: Path) -> None:
    for name in ("a.jpg", "a.png", "b.jpg"):
        make_picture(tmp_path / "in" / name)
    done = run("restore", "in", "-o", "out", "--format", "png", "--model", tiny_model, cwd=tmp_path)
    assert done.returncode == 1 and files(tmp_path / "out") == ["b.png"]
    assert [line for line in done.stderr.splitlines() if b"would both become out/a.png" in line]


@pytest.mark.skipif(os.name != "posix", reason="claims are POSIX locks")
def test_a_second_run_is_told_of_the_first(tmp_path: Path, tiny_model: Path) -> None:

    for name in ("a.png", "b.png"):
        make_picture(tmp_path / "in" / name)
    with claim_target(tmp_path / "out" / "a.png"):
        done = run("restore", "in", "-o", "out", "--model", tiny_model, cwd=tmp_path)
    assert done.returncode == 1 and b"out/a.png is being written by another run." in done.stderr
    assert files(tmp_path / "out") == ["b.png"]
