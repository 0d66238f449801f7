"""`tools/fetch_detector.py` takes one package only, and says what is wrong in one sentence."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

from cmudrn.errors import CmudrnError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import fetch_detector  # type: ignore[import-not-found]

    return fetch_detector


@pytest.fixture
def archive(tool, tmp_path: Path) -> Path:
    """A package whose detector is the two letters "ok"."""
    path, data = tmp_path / "package.tgz", bytes(tool.START) + b"ok"
    with tarfile.open(path, "w:gz") as package:
        member = tarfile.TarInfo(tool.MEMBER)
        member.size = len(data)
        package.addfile(member, io.BytesIO(data))
    return path


def test_the_detector_is_what_follows_the_names(
    tool, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = hashlib.sha256(archive.read_bytes()).hexdigest()
    with pytest.raises(CmudrnError, match="holds another detector"):
        tool.read_detector(archive, package)
    monkeypatch.setattr(tool, "SHA256", hashlib.sha256(b"ok").hexdigest())
    assert tool.read_detector(archive, package) == b"ok"


def test_another_package_is_not_opened(tool, archive: Path) -> None:
    with pytest.raises(CmudrnError, match=r"package\.tgz is not the @mediapipe/objectron@"):
        tool.read_detector(archive)


def run(tool, monkeypatch: pytest.MonkeyPatch, out: Path) -> str:
    """Return what the tool says when it ends."""
    monkeypatch.setattr(sys, "argv", ["fetch_detector.py", str(out)])
    with pytest.raises(SystemExit) as ended:
        tool.main()
    return str(ended.value)


def test_what_is_missing_is_said_in_one_sentence(
    tool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = tmp_path / "detector.tflite"
    monkeypatch.setattr(tool.shutil, "which", lambda name: None)
    assert "needs npm" in run(tool, monkeypatch, out)
    monkeypatch.setattr(tool.shutil, "which", lambda name: name)
    offline = subprocess.CompletedProcess([], 1, "", "npm error code ENOTFOUND\nnpm error network")
    monkeypatch.setattr(tool.subprocess, "run", lambda *_, **__: offline)
    said = run(tool, monkeypatch, out)
    assert "is there a connection?" in said and "ENOTFOUND" in said and "\n" not in said
    assert not out.exists()
    out.write_bytes(b"mine")
    assert "exists already" in run(tool, monkeypatch, out)
    assert out.read_bytes() == b"mine"
