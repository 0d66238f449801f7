"""Plain files give the same image at every depth and size; wrong requests give one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cmudrn.engines import open_engine
from cmudrn.errors import CmudrnError, InvalidSettingError, TargetError
from cmudrn.models.plain_export import export_plain


@pytest.mark.parametrize("size", [None, (32, 48)])
@pytest.mark.parametrize(
    ("name", "depth"),
    [
        ("cmudrn", {}),
        ("cmudrn-25k", {"stages": 2, "recursions": 1}),
        ("drn-rain", {"stages": 2, "recursions": 1}),
        ("cmudrn-context", {"stages": 2, "recursions": 1}),
    ],
)
def test_a_plain_file_restores_the_same_image(
    name: str, depth: dict[str, Any], size: tuple[int, int] | None, tmp_path: Path
) -> None:
    plain = tmp_path / "plain.onnx"
    export_plain(name, plain, size=size, **depth)
    batch = np.random.default_rng(0).random((1, 3, 32, 48), np.float32)
    engine = open_engine(plain, "onnx", 1)
    expected = open_engine(name, "onnx", 1)(batch, branches=True, **depth)
    found = engine(batch, branches=True)
    assert np.abs(found.restored - expected.restored).max() < 1e-5
    assert found.branches.keys() == expected.branches.keys()
    assert (engine.info.name, engine.info.adjustable, engine.info.elastic) == (name, False, False)
    assert (engine.info.stages, engine.info.recursions) == (2, 1)
    with pytest.raises(InvalidSettingError, match="fixed depth"):
        engine(batch, stages=3)


@pytest.mark.parametrize(
    "changes, error",
    [
        ({"stages": 0}, InvalidSettingError),
        ({"recursions": 65}, InvalidSettingError),
        ({"size": (0, 10)}, InvalidSettingError),
        ({"size": (10, 1 << 20)}, InvalidSettingError),
        ({"target": "plain.txt"}, InvalidSettingError),
        ({"model": "nosuch"}, CmudrnError),
    ],
)
def test_what_cannot_be_exported_is_told(
    changes: dict[str, Any], error: type[CmudrnError], tmp_path: Path
) -> None:
    settings = {"model": "cmudrn", "target": "plain.onnx"} | changes
    settings["target"] = tmp_path / settings["target"]
    with pytest.raises(error):
        export_plain(**settings)
    assert not list(tmp_path.iterdir())


def test_a_file_that_exists_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "plain.onnx"
    target.write_text("mine")
    with pytest.raises(TargetError):
        export_plain("cmudrn", target)
    assert target.read_text() == "mine"
    export_plain("cmudrn", target, overwrite=True)
    assert target.read_bytes().startswith(b"\x08")
