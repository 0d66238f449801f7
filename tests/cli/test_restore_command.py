"""`cmudrn restore` on the command line and in scripts."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from typer.testing import CliRunner

from cmudrn.cli import app
from cmudrn.image import read_picture
from cmudrn.photos.restore_photo import encode_layer

SCORED = ("--model", "cmudrn-25k")
"""A model that gives a weather score."""


def run(*arguments: object, stdin: bytes = b"", cwd: Path | None = None, **options: Any):
    """Run the command line in a process of its own; return what it said."""
    return subprocess.run(
        [sys.executable, "-m", "cmudrn", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        cwd=cwd,
        timeout=60,
        **options,
    )


def make_picture(path: Path, seed: int = 0, size: tuple[int, int] = (20, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    Pillow.fromarray(pixels).save(path)
    return path


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_one_file_goes_beside_its_input(tmp_path: Path, darkening_model: Path) -> None:
    make_picture(tmp_path / "a.png")
    done = run("restore", "a.png", "--model", darkening_model, cwd=tmp_path)
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


def test_a_missing_input_does_not_stop_the_rest(tmp_path: Path, identity_model: Path) -> None:
    for name in ("a.png", "b.png"):
        make_picture(tmp_path / name)
    inputs = ("a.png", "nope.png", "", "no*.png", "b.png")
    done = run("restore", *inputs, "-o", "out", "--model", identity_model, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [
        "cmudrn: There is no file nope.png.",
        "cmudrn: There is no file .",
        "cmudrn: There is no file no*.png.",
        "cmudrn: 3 of 5 files were not restored.",
    ]
    assert files(tmp_path / "out") == ["a.png", "b.png"]


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


def test_standard_input_and_output(tmp_path: Path, tiny_model: Path) -> None:
    path = make_picture(tmp_path / "a.jpg")
    through = run("restore", "-", "--model", tiny_model, stdin=path.read_bytes())
    assert Pillow.open(io.BytesIO(through.stdout)).format == "JPEG"
    run("restore", path, "-o", tmp_path / "b.jpg", "--model", tiny_model)
    assert (tmp_path / "b.jpg").read_bytes() == through.stdout
    out = run("restore", path, "-o", "-", "--format", "png", "--model", tiny_model)
    assert Pillow.open(io.BytesIO(out.stdout)).format == "PNG"
    target = tmp_path / "c.webp"
    run("restore", "-", "-o", target, "--model", tiny_model, stdin=path.read_bytes())
    assert Pillow.open(target).format == "WEBP"


def test_bad_standard_input(tiny_model: Path) -> None:
    for data, sentence in [(b"", b"Standard input is empty"), (b"x", b"is not a JPEG")]:
        done = run("restore", "-", "--model", tiny_model, stdin=data)
        assert (done.returncode, done.stdout) == (1, b"")
        assert sentence in done.stderr and b"Traceback" not in done.stderr


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
        "restore", "a.png", "-o", "b.png", "--layers", "--model", darkening_model, cwd=tmp_path
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


@pytest.mark.parametrize("depth", [("--stages", 1), ("--recursions", 3)])
def test_the_default_model_has_one_depth(tmp_path: Path, depth: tuple[str, int]) -> None:
    make_picture(tmp_path / "a.png")
    done = run("restore", "a.png", *depth, cwd=tmp_path)
    assert done.returncode == 1 and files(tmp_path) == ["a.png"]
    assert b"cmudrn has a fixed depth; cmudrn-25k lets" in done.stderr


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


# --------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "arguments, code, sentence",
    [
        (["a.png", "--model", "nosuch"], 1, "There is no model 'nosuch'"),
        (["a.png", "--model", "nosuch.onnx"], 1, "There is no model file nosuch.onnx"),
        (["a.png", "--model", "a.png"], 1, "is not a usable ONNX model"),
        (["nosuch.png"], 1, "There is no file nosuch.png"),
        (["nosuch*.png"], 1, "There is no file nosuch*.png"),
        (["a.png", "--engine", "steam"], 1, "There is no engine 'steam'"),
        (["empty"], 1, "no picture among the inputs"),
        (["a.png", "b.png", "-o", "c.png"], 1, "name a folder"),
        (["a.png", "-o", "a.png", "--overwrite"], 1, "would overwrite itself"),
        (["a.png", "-o", "b.png"], 1, "exists already"),
        (["a.png", "-o", "c.mp4"], 1, "a.png is a picture; c.mp4 is the name of a video."),
        (["c.MOV", "-o", "c.png"], 1, "c.MOV is a video; c.png is the name of a picture."),
        (["a.png", "--format", "png", "-o", "c.JPG"], 1, "c.JPG is the name of a jpeg, and"),
        (["-", "--format", "png", "-o", "c.jpg"], 1, "and the format asked for is png."),
        (["-", "-o", "c.mp4"], 1, "does not end in a known suffix"),
        (["a.png", "-o", "a.png/out"], 1, "is not a folder to write to"),
        (["a.png", "-o", "text.txt/out/"], 1, "is not a folder to write to"),
        (["a.png", "--max-pixels", "10"], 1, "--max-pixels"),
        (["a.png", "--max-bytes", "10"], 1, "--max-bytes"),
        (["rgba.png", "--format", "jpeg"], 1, "transparency"),
        (["a.png", "--strength", "2"], 2, "--strength"),
        (["a.png", "--stages", "0"], 2, "--stages"),
        (["a.png", "--format", "gif"], 2, "jpeg, png, tiff, webp, bmp"),
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


@pytest.mark.parametrize("format", ["jpg", "png", "tif", "webp", "bmp"])
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


def test_frames_go_through_pipes(darkening_model: Path) -> None:
    data = np.full((3, 4, 5, 3), 200, np.uint8).tobytes()
    command = ("restore", "--frames", "rgb24", "5x4", "-", "--model", darkening_model)
    done = run(*command, stdin=data)
    assert done.returncode == 0
    found = np.frombuffer(done.stdout, np.uint8).reshape(3, 4, 5, 3)
    assert np.abs(found.astype(int) - 149).max() <= 1  # the model darkens by 0.2
    cut = run(*command, stdin=data[:70])
    assert (cut.returncode, len(cut.stdout)) == (1, 60)
    assert cut.stderr == b"cmudrn: The input ended inside a frame: 10 of 60 bytes came.\n"


@pytest.mark.parametrize(
    "options, sentence",
    [
        (["--score"], "--frames goes without --score."),
        (["--layers", "--codec", "ffv1"], "--frames goes without --layers and --codec."),
        (
            ["--evidence", "--json", "--side-by-side"],
            "--frames goes without --side-by-side, --json and --evidence.",
        ),
    ],
)
def test_frames_refuse_what_they_would_not_heed(
    tiny_model: Path, options: list[str], sentence: str
) -> None:
    command = ("restore", "--frames", "rgb24", "5x4", "-", *options, "--model", tiny_model)
    done = run(*command, stdin=bytes(60), env=os.environ | {"COLUMNS": "200"})
    assert (done.returncode, done.stdout) == (2, b"")
    assert sentence in done.stderr.decode() and b"Traceback" not in done.stderr


def test_frames_heed_what_they_take(darkening_model: Path) -> None:
    command = ("restore", "-", "-o", "-", "--frames", "gray", "5x4", "--strength", 0.5,
               "--no-change-gating", "--engine", "onnx", "--precision", "fp32", "--threads", 1,
               "--model", darkening_model)  # fmt: skip
    done = run(*command, stdin=bytes([200]) * 20)
    assert done.returncode == 0, done.stderr
    assert np.abs(np.frombuffer(done.stdout, np.uint8) - 174.5).max() <= 1


def test_side_by_side_with_scores_of_every_frame(tmp_path: Path) -> None:
    clips = pytest.importorskip("support.clips", reason="the extra video is not installed")
    clips.make_clip(tmp_path / "a ü.mkv", [512 * n for n in range(6)], extras=False)
    done = run(
        "restore", "a ü.mkv", "-o", "b.mkv", "--side-by-side", "--score", *SCORED, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    with clips.av.open(str(tmp_path / "b.mkv")) as clip:
        frames = list(clip.decode(video=0))
    assert (len(frames), frames[0].width) == (6, 2 * clips.WIDTH)
    rows = (tmp_path / "b.mkv.weather.csv").read_text().splitlines()
    assert rows[0] == "seconds,rain,snow,clear,passed"
    assert [float(row.split(",")[0]) for row in rows[1:]] == [n / 25 for n in range(6)]


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is a signal")
def test_ctrl_c_in_mid_clip_loses_nothing(tmp_path: Path, darkening_model: Path) -> None:
    clips = pytest.importorskip("support.clips", reason="the extra video is not installed")
    source = clips.make_clip(
        tmp_path / "a.mkv", [512 * n for n in range(200)], extras=False, shape=(64, 80)
    )
    target = tmp_path / "b.mkv"
    command = ["restore", str(source), "-o", str(target), "--model", str(darkening_model)]
    with subprocess.Popen(
        [sys.executable, "-m", "cmudrn", *command],
        stderr=subprocess.PIPE,
        # Tests that a shell runs in the background are deaf to Ctrl-C, and so are their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        end = time.monotonic() + 60
        while not list(tmp_path.glob(".b.mkv.segments/*.npz")) and time.monotonic() < end:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert said.endswith(b"the same command goes on from there.\ncmudrn: interrupted\n")
    assert not target.exists()
    done = run(*command, "--json")
    record = json.loads(done.stdout)
    assert record["resumed_at"] >= 48 and record["frames"] == 200


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
    from cmudrn.models import shipped_models

    done = run("models", "--json")
    assert done.returncode == 0
    assert [entry["name"] for entry in json.loads(done.stdout)] == list(shipped_models())
    assert run("models").returncode == 0


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
    assert files(tmp_path) == ["a.png", "a.restored.png", "a.restored.restored.png"]


def test_layers_of_two_clips_collide(tmp_path: Path, tiny_model: Path) -> None:
    pytest.importorskip("support.clips", reason="the extra video is not installed")
    for name in ("a.mp4", "a.removed-rain.mp4"):
        (tmp_path / name).touch()
    done = run("restore", "a.mp4", "a.removed-rain.mp4", "-o", "out", "--layers",
               "--model", tiny_model, cwd=tmp_path)  # fmt: skip
    assert done.returncode == 1
    assert b"would both become out/a.removed-rain.mp4" in done.stderr


def test_what_is_lost_is_said_of_streams_too(tmp_path: Path, tiny_model: Path) -> None:
    Pillow.new("CMYK", (8, 8)).save(tmp_path / "inks.jpg")
    Pillow.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "deep.png")
    data = {name: (tmp_path / name).read_bytes() for name in ("inks.jpg", "deep.png")}
    done = run("restore", "-", "--model", tiny_model, stdin=data["inks.jpg"])
    assert done.returncode == 0
    assert done.stderr.startswith(b"cmudrn: Standard input: ") and b"CMYK" in done.stderr
    to_file = ("restore", "-", "-o", "a.jpg", "--model", tiny_model)
    done = run(*to_file, stdin=data["deep.png"], cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr.startswith(b"cmudrn: Standard input: JPEG holds 8 bits")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("arguments", [("-",), ("a.jpg", "-o", "b.jpg"), None])
def test_standard_output_on_a_full_disk(
    tmp_path: Path, tiny_model: Path, arguments: tuple[str, ...] | None
) -> None:
    picture = make_picture(tmp_path / "a.jpg")
    command = ("restore", *arguments, "--model", tiny_model) if arguments else ("models",)
    with open(picture, "rb") as stdin, open("/dev/full", "wb") as stdout:
        done = subprocess.run(
            [sys.executable, "-m", "cmudrn", *map(str, command)],
            stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, cwd=tmp_path, timeout=60,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, b"cmudrn: No space left on device.\n")


@pytest.mark.skipif(os.name != "posix", reason="the shell closes streams")
@pytest.mark.parametrize(
    "closed, sentence",
    [("<&-", b"Standard input is empty."), (">&-", b"Standard output is closed."), ("2>&-", b"")],
)
def test_closed_streams(tmp_path: Path, tiny_model: Path, closed: str, sentence: bytes) -> None:
    picture = make_picture(tmp_path / "a.jpg")
    command = [sys.executable, "-m", "cmudrn", "restore", "-", "--model", str(tiny_model)]
    line = f"{shlex.join(command)} {closed}"
    done = subprocess.run(line, shell=True, input=picture.read_bytes(), capture_output=True)
    assert done.returncode == (1 if sentence else 0)
    assert done.stderr == (b"cmudrn: " + sentence + b"\n" if sentence else b"")
    assert done.stdout.startswith(b"" if sentence else b"\xff\xd8")


@pytest.mark.parametrize("limit", [10**14, 2**63 - 1, 10**30])
def test_limits_ask_for_no_memory(tmp_path: Path, tiny_model: Path, limit: int) -> None:
    picture = make_picture(tmp_path / "a.jpg").read_bytes()
    done = run("restore", "-", "--max-bytes", limit, "--model", tiny_model, stdin=picture)
    assert done.returncode == 0, done.stderr


def test_standard_input_over_the_limit(tiny_model: Path) -> None:
    done = run("restore", "-", "--max-bytes", 10, "--model", tiny_model, stdin=b"\xff" * 1000)
    assert done.returncode == 1
    assert b"has 11 bytes, more than the limit of 10 (--max-bytes)" in done.stderr


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


def test_ctrl_c_before_the_command_began() -> None:
    script = """if True:
        import sys
        class Interrupt:
            def find_spec(self, name, path=None, target=None):
                if name == "typer":
                    raise KeyboardInterrupt
        sys.meta_path.insert(0, Interrupt())
        from cmudrn.cli import main
        main()
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, b"cmudrn: interrupted\n")


def test_names_that_the_terminal_has_no_letters_for(tmp_path: Path, identity_model: Path) -> None:
    for name in ("a\N{SNOWMAN}.png", "b.png"):
        make_picture(tmp_path / "in" / name)
    done = run("restore", "in", "-o", "out", "--model", identity_model, cwd=tmp_path,
               env=os.environ | {"PYTHONIOENCODING": "latin-1"})  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.splitlines()[0] == rb"in/a\u2603.png -> out/a\u2603.png"


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


def test_standard_input_to_a_new_folder(tmp_path: Path, tiny_model: Path) -> None:
    picture = make_picture(tmp_path / "a.png").read_bytes()
    target = tmp_path / "new" / "sub" / "b.png"
    done = run("restore", "-", "-o", target, "--model", tiny_model, stdin=picture)
    assert done.returncode == 0, done.stderr
    assert target.exists()


def test_so_many_threads_are_refused(tmp_path: Path, tiny_model: Path) -> None:
    make_picture(tmp_path / "a.png")
    done = run("restore", "a.png", "--threads", 100_000, "--model", tiny_model, cwd=tmp_path)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert b"threads" in done.stderr and b"1024" in done.stderr and b"100000" in done.stderr


def test_pictures_that_are_passed_over_are_named(tmp_path: Path, tiny_model: Path) -> None:
    for name in ("a.png", "c.png"):
        make_picture(tmp_path / "in" / name)
    (tmp_path / "in" / "c.png").rename(tmp_path / "in" / "c.jfif")
    for name in ("d.gif", "g.avif", "h.heic"):
        (tmp_path / "in" / name).write_bytes(b"x")
    for options in ((), ("--json",)):
        out = f"out{len(options)}"
        done = run("restore", "in", "-o", out, "--model", tiny_model, *options, cwd=tmp_path)
        assert done.returncode == 0
        said = done.stdout if options else done.stderr
        assert all(name in said for name in (b"in/d.gif", b"in/g.avif", b"in/h.heic"))
        assert files(tmp_path / out) == ["a.png", "c.jfif"]


@pytest.mark.parametrize("name", ["clean.avif", "clean.jxl", "clean.heic", "clean.xyz"])
def test_an_output_of_unknown_kind_is_refused(tmp_path: Path, name: str) -> None:
    make_picture(tmp_path / "a.png")
    done = run("restore", "a.png", "-o", name, cwd=tmp_path)
    assert done.returncode == 1 and b"known suffix" in done.stderr
    assert files(tmp_path) == ["a.png"] and not (tmp_path / name).exists()


def test_files_that_clash_do_not_stop_the_rest(tmp_path: Path, tiny_model: Path) -> None:
    for name in ("a.jpg", "a.png", "b.jpg"):
        make_picture(tmp_path / "in" / name)
    done = run("restore", "in", "-o", "out", "--format", "png", "--model", tiny_model, cwd=tmp_path)
    assert done.returncode == 1 and files(tmp_path / "out") == ["b.png"]
    assert [line for line in done.stderr.splitlines() if b"would both become out/a.png" in line]


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


@pytest.mark.skipif(os.name != "posix", reason="claims are POSIX locks")
def test_a_second_run_is_told_of_the_first(tmp_path: Path, tiny_model: Path) -> None:
    from cmudrn.files import claim_target

    for name in ("a.png", "b.png"):
        make_picture(tmp_path / "in" / name)
    with claim_target(tmp_path / "out" / "a.png"):
        done = run("restore", "in", "-o", "out", "--model", tiny_model, cwd=tmp_path)
    assert done.returncode == 1 and b"out/a.png is being written by another run." in done.stderr
    assert files(tmp_path / "out") == ["b.png"]
