"""`cmudrn restore` on pipes, frames and clips, and when it is stopped."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from support.commands import make_picture, run, run_afresh

SCORED = ("--model", "cmudrn-25k")
"""A model that gives a weather score."""


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
    done = run_afresh("restore", "in", "-o", "out", "--model", identity_model, cwd=tmp_path,
                      env=os.environ | {"PYTHONIOENCODING": "latin-1"})  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.splitlines()[0] == rb"in/a\u2603.png -> out/a\u2603.png"


def test_standard_input_to_a_new_folder(tmp_path: Path, tiny_model: Path) -> None:
    picture = make_picture(tmp_path / "a.png").read_bytes()
    target = tmp_path / "new" / "sub" / "b.png"
    done = run("restore", "-", "-o", target, "--model", tiny_model, stdin=picture)
    assert done.returncode == 0, done.stderr
    assert target.exists()
