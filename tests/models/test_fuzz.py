"""Damaged and hostile model files are refused in one sentence, or run within limits."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from support.model_mutations import mutate_model
from support.random_networks import random_network

from cmudrn.engines.base import Engine
from cmudrn.engines.onnx import OnnxEngine
from cmudrn.errors import CmudrnError, ModelFileError
from cmudrn.models.model_file import make_info, parse_model
from cmudrn.models.onnx_writer import write_onnx
from cmudrn.models.registry import shipped_models

SECONDS = 20.0
"""No file takes longer, however loaded the machine is; a usual one takes some milliseconds."""


def whole_files() -> list[bytes]:
    shipped = shipped_models()
    files = [shipped[name].path.read_bytes() for name in ("cmudrn-25k", "cmudrn", "drn-rain")]
    return files + [write_onnx(random_network(seed)) for seed in (3, 5, 10)]


@pytest.mark.parametrize("seed", range(10))
def test_mutated_files_are_refused_or_run(seed: int) -> None:
    """Thirty files a seed. What is accepted has a network, or is for a runtime to refuse."""
    rng = np.random.default_rng(seed)
    files, refused = whole_files(), 0
    batch = rng.random((1, 3, 16, 16), np.float32)
    for case in range(30):
        data = mutate_model(files[case % len(files)], rng)
        start = time.monotonic()
        try:
            model = parse_model(data, "mutated.onnx")
            info = make_info(model)
            if info.graph is not None:
                engine: Engine = OnnxEngine(model, 1)
                restored = engine(batch).restored
                assert restored.shape == batch.shape
        except CmudrnError as error:
            refused += 1
            sentence = str(error)
            assert sentence.endswith(".") and "\n" not in sentence and len(sentence) < 500
            if isinstance(error, ModelFileError):
                assert error.path is not None and "mutated.onnx" in sentence
        assert time.monotonic() - start < SECONDS
    assert 0 < refused <= 30  # damage is found, most of the time


def test_a_file_that_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in ("/dev/zero", tmp_path):
        with pytest.raises(ModelFileError):
            parse_model_at(path)


def parse_model_at(path: str | Path) -> None:
    from cmudrn.models.model_file import read_model_file

    read_model_file(path)
