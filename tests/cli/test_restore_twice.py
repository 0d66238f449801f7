"""Two runs at once on the same targets, and a run over the results of another one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import files, make_picture, run

from cmudrn.files import claim_target


def test_two_runs_at_once_make_whole_results(tmp_path: Path, tiny_model: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        make_picture(tmp_path / "in" / name, size=(64, 96))
    command = [sys.executable, "-m", "cmudrn", "restore", "in", "--model", str(tiny_model)]
    assert run(*command[3:], "-o", "alone", cwd=tmp_path).returncode == 0
    both = [
        subprocess.Popen([*command, "-o", "out"], cwd=tmp_path, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60)[1] for process in both]
    refused = b"".join(said).count(b"exists already") + b"".join(said).count(b"by another run.")
    assert refused == 3  # each picture is restored by one of them
    assert files(tmp_path / "out") == files(tmp_path / "alone") == ["a.png", "b.png", "c.png"]
    for name in files(tmp_path / "out"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


@pytest.mark.skipif(os.name != "posix", reason="claims are POSIX locks")
def test_a_second_batch_is_told_of_the_first(tmp_path: Path, tiny_model: Path) -> None:
    pytest.importorskip("ray", reason="the extra cluster is not installed")
    make_picture(tmp_path / "in" / "a.png")
    with claim_target(tmp_path / "out"):
        done = run("batch", "in", "out", "--model", tiny_model, cwd=tmp_path)
    assert done.returncode == 1 and b"out is being written by another run." in done.stderr
    assert not (tmp_path / "out").exists()


def test_results_are_not_restored_again(tmp_path: Path, tiny_model: Path) -> None:
    for name in ("a.png", "b.png", "sub/c.png", "x.restored.png"):
        make_picture(tmp_path / name)
    make_picture(tmp_path / "a.restored.removed-rain.png")
    model = ("--model", tiny_model)
    assert run("restore", "[ab].png", "sub/c.png", *model, cwd=tmp_path).returncode == 0
    made = files(tmp_path)
    done = run("restore", "*.png", "sub", "-o", "out", *model, cwd=tmp_path)
    assert done.returncode == 0
    assert files(tmp_path / "out") == ["a.png", "b.png", "c.png", "x.restored.png"]
    said = done.stderr.decode()
    assert "a.restored.png is passed over: it is a result of a.png." in said
    assert "sub/c.restored.png is passed over: it is a result of c.png." in said
    assert run("restore", "a.restored.png", *model, cwd=tmp_path).returncode == 0
    assert "a.restored.restored.png" in set(files(tmp_path)) - set(made)
