"""`cmudrn restore` with files and folders."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from support.commands import files, make_picture, run, run_afresh

from cmudrn.image import read_picture
from cmudrn.models import shipped_models
from cmudrn.photos.restore_photo import encode_layer

SCORED = ("--model", "cmudrn-25k")
"""A model that gives a weather score."""


def test_one_file_goes_beside_its_input(tmp_path: Path, darkening_model: Path) -> None:
    make_picture(tmp_path / "a.png")
    done = run_afresh("restore", "a.png", "--model", darkening_model, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, b"a.png -> a.restored.png\n")
    before, after = (
        read_picture(tmp_path / name).pixels.astype(int) for name in ("a.png", "a.restored.png")
    )
    assert np.abs(after - np.clip(before - 51, 0, 255))[before > 80].max() <= 1


def test_faint_changes_are_held_back_unless_told_otherwise(
    tmp_path: Path, darkening_model: Path
) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    model = onnx.load(darkening_model)
    model.metadata_props[0].value = json.dumps(
        json.loads(model.metadata_props[0].value) | {"change_gating_db": 10}
    )
    onnx.save(model, tmp_path / "m.onnx")
    Pillow.new("RGB", (30, 20), (200, 200, 200)).save(tmp_path / "a.png")
    for options, level in (((), 193), (("--no-change-gating",), 149)):  # 0.2^2 is 14 dB: gain 0.138
        args = ("restore", "a.png", "-o", "b.png", "--overwrite", "--model", "m.onnx", *options)
        done = run(*args, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert np.abs(read_picture(tmp_path / "b.png").pixels.astype(int) - level).max() <= 1


def test_a_folder_keeps_its_tree_and_a_bad_file_does_not_stop_it(
    tmp_path: Path, identity_model: Path
) -> None:
    for name in ("a.png", "sub/b.jpg", "sub/deep/c.webp", ".hidden/d.png"):
        make_picture(tmp_path / "in" / name)
    (tmp_path / "in" / "zero.png").touch()
    (tmp_path / "in" / "text.png").write_text("hello")
    (tmp_path / "in" / "notes.txt").write_text("not for us")
    cut = make_picture(tmp_path / "in" / "cut.jpg")
    cut.write_bytes(cut.read_bytes()[:500])
    done = run("restore", "in", "-o", "out", "--model", identity_model, cwd=tmp_path)
    assert done.returncode == 1
    assert files(tmp_path / "out") == ["a.png", "sub/b.jpg", "sub/deep/c.webp"]
    complaints = done.stderr.decode().splitlines()
    assert [line.split()[1] for line in complaints[:3]] == [
        "in/cut.jpg",
        "in/text.png",
        "in/zero.png",
    ]
    assert complaints[3] == "cmudrn: 3 of 6 files were not restored."
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments, result",
    [
        (("a.png", "./a.png", "a*.png"), "a.restored.png"),
        (("a.png", "a.png", "-o", "b.png"), "b.png"),
        ((".", "a.png", "-o", "out"), "out/a.png"),
    ],
)
def test_a_file_that_is_named_twice_is_taken_once(
    tmp_path: Path, identity_model: Path, arguments: tuple[str, ...], result: str
) -> None:
    make_picture(tmp_path / "a.png")
    done = run("restore", *arguments, "--model", identity_model, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == f"a.png -> {result}\n".encode()


def test_a_folder_without_an_output(tmp_path: Path, tiny_model: Path) -> None:
    make_picture(tmp_path / "in" / "a.png")
    for expected in (0, 1):  # a second run finds the results there
        done = run("restore", "in", "--model", tiny_model, cwd=tmp_path)
        assert done.returncode == expected
    assert b"--overwrite" in done.stderr
    assert files(tmp_path) == ["in.restored/a.png", "in/a.png"]


def test_an_output_inside_the_input_is_not_restored_again(tmp_path: Path, tiny_model: Path) -> None:
    make_picture(tmp_path / "a.png")
    for _ in range(2):
        done = run("restore", ".", "-o", "out", "--overwrite", "--model", tiny_model, cwd=tmp_path)
        assert done.returncode == 0
    assert files(tmp_path) == ["a.png", "out/a.png"]


def test_patterns(tmp_path: Path, tiny_model: Path) -> None:
    for name in ("a1.png", "a2.png", "b.png"):
        make_picture(tmp_path / name)
    done = run("restore", "a*.png", "-o", "out", "--model", tiny_model, cwd=tmp_path)
    assert done.returncode == 0
    assert files(tmp_path / "out") == ["a1.png", "a2.png"]


@pytest.mark.parametrize("name", ["-o.png", "a[1].png", "a b.png", "ü\N{SNOWMAN}.png", "x\ny.png"])
def test_any_file_name(tmp_path: Path, tiny_model: Path, name: str) -> None:
    make_picture(tmp_path / name)
    done = run("restore", "--model", tiny_model, "-o", "out", "--", name, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert files(tmp_path / "out") == [name]
    assert len(done.stdout.splitlines()) == 1


def test_a_file_name_that_is_no_text(tmp_path: Path, tiny_model: Path) -> None:
    name = os.fsdecode(b"\xff\xfe.png")
    try:
        make_picture(tmp_path / "a.png").rename(tmp_path / name)
    except OSError:
        pytest.skip("this file system takes only text for names")
    done = run("restore", ".", "-o", "out", "--json", "--model", tiny_model, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ok"]
    assert run("restore", ".", "-o", "out2", "--model", tiny_model, cwd=tmp_path).returncode == 0


def test_json_lines(tmp_path: Path, tiny_model: Path) -> None:
    good, bad = make_picture(tmp_path / "a.png"), tmp_path / "b.png"
    bad.touch()
    done = run("restore", good, bad, "-o", tmp_path / "out", "--json", "--model", tiny_model)
    first, second = map(json.loads, done.stdout.splitlines())
    assert done.returncode == 1
    assert first["ok"] and (first["width"], first["height"]) == (30, 20)
    assert first["output"] == str(tmp_path / "out" / "a.png")
    assert second == {"input": str(bad), "ok": False, "error": f"{bad} is empty."}
    assert done.stderr == b""


def test_layers(tmp_path: Path, darkening_model: Path) -> None:
    Pillow.new("RGB", (9, 7), (200, 200, 200)).save(tmp_path / "a.png")
    done = run(
        *("restore", "a.png", "-o", "b.png", "--layers", "--model", darkening_model),
        *("--precision", "fp32"),
        cwd=tmp_path,
    )
    assert done.returncode == 0
    for name, amount in {"rain": 0.1, "snow": 0.3, "fused": 0.2}.items():
        values = np.asarray(Pillow.open(tmp_path / f"b.removed-{name}.png"))
        assert values.shape == (7, 9, 3)
        assert np.abs((values - 128.0) / 127 - amount).max() <= 0.5 / 127 + 1e-4


def test_layer_encoding() -> None:
    removed = np.array([[[-2, -1, 0]], [[0.5, 1, 2]]], np.float32)
    assert encode_layer(removed).ravel().tolist() == [0, 1, 128, 192, 255, 255]


def test_strength_zero_keeps_every_pixel(tmp_path: Path, tiny_model: Path) -> None:
    make_picture(tmp_path / "a.png")
    run("restore", "a.png", "-o", "b.png", "--strength", "0", "--model", tiny_model, cwd=tmp_path)
    before, after = (read_picture(tmp_path / name).pixels for name in ("a.png", "b.png"))
    assert np.array_equal(before, after)


def test_depth_changes_the_result(tmp_path: Path, tiny_model: Path) -> None:
    path = make_picture(tmp_path / "a.png")
    results = {
        run("restore", path, "-o", "-", "--model", tiny_model, *depth).stdout
        for depth in ((), ("--stages", 1), ("--recursions", 1), ("--stages", 2, "--recursions", 2))
    }
    assert len(results) == 3  # the model's own depth is 2 and 2


def test_format_and_quality(tmp_path: Path, tiny_model: Path) -> None:
    make_picture(tmp_path / "a.png")
    done = run(
        "restore", "a.png", "--format", "jpeg", "--quality", 50, "--model", tiny_model, cwd=tmp_path
    )
    assert done.returncode == 0
    assert Pillow.open(tmp_path / "a.restored.jpg").format == "JPEG"


def test_what_is_lost_is_said(tmp_path: Path, tiny_model: Path) -> None:
    Pillow.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "deep.png")
    done = run("restore", "deep.png", "--format", "bmp", "--model", tiny_model, cwd=tmp_path)
    assert done.returncode == 0
    assert b"8 bits" in done.stderr


def test_a_misnamed_picture_keeps_its_format(tmp_path: Path, tiny_model: Path) -> None:
    make_picture(tmp_path / "a.png").rename(tmp_path / "a.jpg")
    run("restore", "a.jpg", "--model", tiny_model, cwd=tmp_path)
    assert Pillow.open(tmp_path / "a.restored.jpg").format == "PNG"


def test_evidence_and_verify(tmp_path: Path, tiny_model: Path) -> None:
    make_picture(tmp_path / "a.png")
    restore = ("restore", "a.png", "-o", "b.png", "--evidence", "--model", tiny_model)
    assert run(*restore, cwd=tmp_path).returncode == 0
    done = run("verify", "b.png", "--model", tiny_model, cwd=tmp_path)
    assert done.returncode == 0
    assert [line.split()[:2] for line in done.stdout.decode().splitlines()] == [
        ["ok", "output"], ["ok", "input"], ["ok", "model"], ["ok", "re-run"],
    ]  # fmt: skip
    with open(tmp_path / "b.png", "ab") as file:
        file.write(b"\0")
    done = run("verify", "b.png", "--json", "--model", tiny_model, cwd=tmp_path)
    assert done.returncode == 1
    assert not json.loads(done.stdout)["ok"]
    done = run("verify", "a.png", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"There is no record" in done.stderr


@pytest.mark.parametrize("format", ["jpg", "png", "tif", "webp", "avif", "bmp"])
def test_every_format_is_verified(tmp_path: Path, tiny_model: Path, format: str) -> None:
    make_picture(tmp_path / f"a.{format}")
    target = tmp_path / f"b.{format}"
    done = run("restore", f"a.{format}", "-o", target, "--evidence", "--model", tiny_model,
               cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0
    assert (b"without XMP" in done.stderr) == (format == "bmp")  # which has no room for the mark
    assert run("verify", target, "--model", tiny_model, cwd=tmp_path).returncode == 0


def test_score_and_gate(tmp_path: Path) -> None:
    Pillow.new("RGB", (64, 48), (90, 120, 150)).save(tmp_path / "clear.png")
    make_picture(tmp_path / "noise.png", size=(48, 64))
    done = run(
        "restore", "clear.png", "noise.png", "--score", "--gate", "--json", *SCORED, cwd=tmp_path
    )
    for line in done.stdout.splitlines():
        record = json.loads(line)
        assert sum(record["weather"].values()) == pytest.approx(1, abs=1e-3)
        assert record["passed"] == (record["weather"]["clear"] >= 0.8)
        before, after = ((tmp_path / record[name]).read_bytes() for name in ("input", "output"))
        assert (before == after) == record["passed"]  # not encoded again
    said = run("restore", "noise.png", "-o", "c.png", "--score", *SCORED, cwd=tmp_path)
    assert re.search(rb"\(rain \d+%, snow \d+%, clear \d+%\)", said.stdout)


@pytest.mark.skipif(os.name != "posix", reason="the README speaks to a POSIX shell")
def test_the_lines_of_the_readme_work_in_their_order(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    block = readme.split("## Use\n\n")[1].split("\n\n")[0]
    lines = [line.strip() for line in block.splitlines() if "clip.mp4" not in line]
    assert len(lines) >= 2
    for name in ("photo.jpg", "photos/a.jpg", "photos/sub/b.png"):
        make_picture(tmp_path / name)
    python = shlex.quote(sys.executable)
    script = "\n".join(["set -e", f'cmudrn() {{ {python} -m cmudrn "$@"; }}', *lines])
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")
    assert {"photo.restored.jpg", "restored/sub/b.png"} <= set(files(tmp_path))


def test_models_are_listed() -> None:

    done = run("models", "--json")
    assert done.returncode == 0
    assert [entry["name"] for entry in json.loads(done.stdout)] == list(shipped_models())
    assert run("models").returncode == 0


def test_pictures_that_are_passed_over_are_named(tmp_path: Path, tiny_model: Path) -> None:
    for name in ("a.png", "c.png"):
        make_picture(tmp_path / "in" / name)
    (tmp_path / "in" / "c.png").rename(tmp_path / "in" / "c.jfif")
    for name in ("d.gif", "g.jxl", "h.heic"):
        (tmp_path / "in" / name).write_bytes(b"x")
    for options in ((), ("--json",)):
        out = f"out{len(options)}"
        done = run("restore", "in", "-o", out, "--model", tiny_model, *options, cwd=tmp_path)
        assert done.returncode == 0
        said = done.stdout if options else done.stderr
        assert all(name in said for name in (b"in/d.gif", b"in/g.jxl", b"in/h.heic"))
        assert files(tmp_path / out) == ["a.png", "c.jfif"]


def test_a_stopped_folder_goes_on(tmp_path: Path, identity_model: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        make_picture(tmp_path / "in" / name)
    arguments = ("restore", "in", "-o", "out", "--model", identity_model, "--skip-existing")
    assert run(*arguments, cwd=tmp_path).returncode == 0
    (tmp_path / "out" / "b.png").unlink()
    first = (tmp_path / "out" / "a.png").stat().st_mtime_ns
    done = run(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, b"in/b.png -> out/b.png\n")
    assert done.stderr == b"cmudrn: 2 of 3 files have results already.\n"
    assert (tmp_path / "out" / "a.png").stat().st_mtime_ns == first


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_a_photo_side_by_side(tmp_path: Path, darkening_model: Path, mode: str) -> None:
    Pillow.new(mode, (30, 20), 200 if mode == "L" else (200,) * len(mode)).save(tmp_path / "a.png")
    done = run(
        "restore", "a.png", "-o", "b.png", "--side-by-side", "--model", darkening_model,
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with Pillow.open(tmp_path / "b.png") as whole:
        assert (whole.size, whole.mode) == ((60, 20), mode)
        pixels = np.asarray(whole.convert("L")).astype(int)
    assert np.abs(pixels[:, :30] - 200).max() <= 1 and np.abs(pixels[:, 30:] - 149).max() <= 1


@pytest.mark.parametrize("option, lines", [("-q", 0), ("--quiet", 0), ("-v", 1)])
def test_quiet_and_verbose(tmp_path: Path, identity_model: Path, option: str, lines: int) -> None:
    make_picture(tmp_path / "a.png")
    done = run("restore", option, "a.png", "--model", identity_model, cwd=tmp_path)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == len(done.stderr.splitlines()) == lines
    bad = run("restore", option, "none.png", "--model", identity_model, cwd=tmp_path)
    assert (bad.returncode, bad.stdout) == (1, b"") and b"There is no file" in bad.stderr


@pytest.mark.skipif(os.name != "posix", reason="the modes are those of POSIX")
def test_results_are_not_more_readable_than_their_source(tmp_path: Path, tiny_model: Path) -> None:
    make_picture(tmp_path / "in" / "a.png").chmod(0o600)
    (tmp_path / "outside.png").symlink_to("in/a.png")
    (tmp_path / "in" / "b.png").symlink_to("../outside.png")
    arguments = ("restore", "in", "-o", "out", "--layers", "--evidence", "--model", tiny_model)
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    results = [path for path in (tmp_path / "out").iterdir() if path.name.startswith("a.")]
    assert len(results) == 5
    assert {path.stat().st_mode & 0o777 for path in results} == {0o600}
