"""Graphics cards: which device runs, what is said where none does, what `auto` falls back to."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from cmudrn.engines import DEVICES, open_engine
from cmudrn.engines.onnx import PROVIDERS, OnnxEngine, onnx_devices
from cmudrn.errors import DeviceError, InvalidSettingError

REAL = ort.InferenceSession


class FakeSession:
    """The processor in the place of a card; the class says how that card goes wrong."""

    wrong = ""

    def __init__(self, data: bytes, options: Any, providers: list[str]) -> None:
        card = providers[0] != PROVIDERS["cpu"]
        if card and self.wrong == "start":
            raise RuntimeError("CUDA failure 35: driver too old\nand more")
        self.session = REAL(data, options, providers=[PROVIDERS["cpu"]])
        silent = card and self.wrong == "silent"
        self.providers = [] if silent else providers
        self.fails = card and self.wrong == "run"

    def get_providers(self) -> list[str]:
        return [*self.providers, PROVIDERS["cpu"]]

    def run(self, *arguments: Any) -> Any:
        if self.fails:
            raise RuntimeError("out of memory")
        return self.session.run(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)


@pytest.fixture(params=["", "start", "silent", "run"])
def wrong(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """An ONNX Runtime with a card that works, or goes wrong in one way."""
    built = [PROVIDERS["cuda"], PROVIDERS["cpu"]]
    monkeypatch.setattr(ort, "get_available_providers", lambda: built)
    monkeypatch.setattr(FakeSession, "wrong", request.param)
    monkeypatch.setattr(ort, "InferenceSession", FakeSession)
    return str(request.param)


def test_a_card_runs_or_is_refused_in_one_sentence(wrong: str) -> None:
    if not wrong:
        engine = open_engine("cmudrn", device="cuda")
        assert isinstance(engine, OnnxEngine) and engine.device == "cuda"
        assert engine.tile_pixels > open_engine("cmudrn", "onnx").tile_pixels
        return
    with pytest.raises(DeviceError, match=r"^The device cuda .*\.$") as caught:
        open_engine("cmudrn", device="cuda")
    assert caught.value.device == "cuda" and "\n" not in str(caught.value)


def test_auto_takes_a_card_that_works_and_else_the_processor(wrong: str) -> None:
    engine = open_engine("cmudrn", "onnx", 1, device="auto")
    assert isinstance(engine, OnnxEngine)
    assert engine.device == ("cpu" if wrong else "cuda")
    batch = np.random.default_rng(0).random((1, 3, 32, 48), np.float32)
    assert np.isfinite(engine(batch).restored).all()


def test_a_device_that_is_not_built_in_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: [PROVIDERS["cpu"]])
    with pytest.raises(DeviceError, match="no device 'directml'; it has cpu"):
        open_engine("cmudrn", device="directml")


@pytest.mark.parametrize(
    "engine, precision, device",
    [("native", "auto", "cuda"), ("openvino", "fp32", "cuda"), ("auto", "bf16", "cuda")],
)
def test_what_a_card_cannot_run_is_refused(engine: str, precision: str, device: str) -> None:
    with pytest.raises(InvalidSettingError, match="cuda is for engine onnx"):
        open_engine("cmudrn", engine, 1, precision, device)


def test_devices_have_names_of_their_own() -> None:
    assert {*PROVIDERS, "auto"} == set(DEVICES) and "cpu" in onnx_devices()
    with pytest.raises(InvalidSettingError, match="no device 'gpu'"):
        open_engine("cmudrn", device="gpu")
