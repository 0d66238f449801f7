"""What the system is told, in which order, when results, caches and checkpoints are written.

A file that took its name before its bytes were on the disk would be empty after a power cut; a name
whose folder was not written would be gone. strace shows the calls of a whole process.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from cmudrn.image import Picture, write_picture

STRACE = shutil.which("strace")
CALLS = "fsync,fdatasync,rename,renameat,renameat2,mkdir,mkdirat"
_SYNC = re.compile(r"f(?:data)?sync\(\d+<([^>]*)>")
_RENAME = re.compile(r'renam\w+\(.*?"([^"]+)".*?"([^"]+)".*= 0')
_MKDIR = re.compile(r'mkdir(?:at)?\(.*?"([^"]+)".*= 0')


@dataclass(frozen=True)
class Call:
    """One call: "sync" of a path, "rename" to one, or "mkdir"."""

    kind: str
    path: str


def trace(script: str, folder: Path, *words: str | Path) -> list[Call]:
    """Return the calls with which a script changed what lies below a folder."""
    if STRACE is None:
        pytest.skip("strace is not installed")
    log = folder.parent / "strace.log"
    program = [sys.executable, "-c", script, *map(str, words)]
    command = [STRACE, "-f", "-y", "-s", "4096", "-e", f"trace={CALLS}", "-o", str(log), *program]
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    if not log.exists() or "ptrace" in done.stderr:
        pytest.skip(f"strace cannot run here: {done.stderr.strip()[:100]}")
    assert done.returncode == 0, done.stderr
    calls = []
    for line in log.read_text(encoding="utf-8").splitlines():
        if found := _SYNC.search(line):
            calls.append(Call("sync", found[1]))
        elif found := _RENAME.search(line):
            calls.append(Call("rename", found[2]))
        elif found := _MKDIR.search(line):
            calls.append(Call("mkdir", found[1]))
    return [call for call in calls if call.path.startswith(str(folder))]


def check(calls: list[Call], names: set[str]) -> None:
    """Check that every file of these names was synced, renamed, and its folder synced."""
    renamed = {Path(call.path).name for call in calls if call.kind == "rename"}
    assert names <= renamed
    for at, call in enumerate(calls):
        after = {later.path for later in calls[at + 1 :] if later.kind == "sync"}
        if call.kind == "rename" and not call.path.endswith(".partial"):  # of safetensors itself
            before = [earlier.path for earlier in calls[:at] if earlier.kind == "sync"]
            assert any(not os.path.isdir(path) for path in before[-2:]), call
        if call.kind in ("rename", "mkdir") and os.path.exists(call.path):
            assert os.path.dirname(call.path) in after, call


PHOTO = """
import sys
from pathlib import Path
import cmudrn
restorer = cmudrn.load(sys.argv[1], threads=1)
cmudrn.restore_file(sys.argv[2], sys.argv[3], restorer=restorer, layers=True)
"""


def test_photos_and_new_folders(darkening_model: Path, tmp_path: Path) -> None:
    write_picture(Picture(np.full((24, 32, 3), 120, np.uint8)), tmp_path / "a.png")
    target = tmp_path / "all" / "new" / "folders" / "b.png"
    traced = trace(PHOTO, tmp_path, darkening_model, tmp_path / "a.png", target)
    calls = [call for call in traced if not call.path.startswith(str(tmp_path / "cache"))]
    check(calls, {"b.png", "b.removed-rain.png", "b.removed-snow.png", "b.removed-fused.png"})
    assert sum(call.kind == "mkdir" for call in calls) >= 2


def test_clips(identity_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="the extra video is not installed")
    from support import clips

    source = clips.make_clip(tmp_path / "a.mkv", [512 * n for n in range(3)], extras=False)
    (tmp_path / "out").mkdir()
    script = PHOTO.replace(", layers=True", "")
    calls = trace(script, tmp_path / "out", identity_model, source, tmp_path / "out" / "b.mkv")
    check(calls, {"b.mkv", "plan.json", "000000.npz"})


def test_checkpoints(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra train is not installed")
    (tmp_path / "run").mkdir()
    script = """
import sys, torch
from pathlib import Path
from cmudrn.checkpoints.checkpoint import Checkpoint, save_checkpoint
weights = {"a": torch.zeros(3)}
save_checkpoint(Checkpoint({}, 1, weights, weights, {}, record={}), Path(sys.argv[1]))
"""
    calls = trace(script, tmp_path / "run", tmp_path / "run" / "last.safetensors")
    check(calls, {"last.safetensors"})


def test_profiles(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from cmudrn.restoration.profile import Profile, save_profile
save_profile(Profile("0" * 64, "auto auto", {1: (1.0, 1.0, 1.0)}), Path(sys.argv[1]))
"""
    (tmp_path / "cache").mkdir()
    calls = trace(script, tmp_path / "cache", tmp_path / "cache" / "cmudrn" / "a.json")
    check(calls, {"a.json"})
    assert Call("mkdir", str(tmp_path / "cache" / "cmudrn")) in calls
