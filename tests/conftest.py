"""Fixtures that the tests of several packages share."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from cmudrn.engines import native

ROOT = Path(__file__).parent.parent

if "PYTEST_XDIST_WORKER" in os.environ:  # as many processes as cores: each has one thread for torch
    os.environ.setdefault("OMP_NUM_THREADS", "1")

SLOW = ("cluster", "training", "experiments", "video", "server", "live", "engines")
"""Folders whose files take long. They come first: no process waits for another's last file."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of the slow folders first, in their order otherwise."""
    rank = {ROOT / "tests" / folder: number for number, folder in enumerate(SLOW)}
    items.sort(key=lambda item: min(rank.get(at, len(SLOW)) for at in item.path.parents))


@pytest.fixture(autouse=True)
def no_signal_handler_left() -> Iterator[None]:
    """Take away the SIGCHLD handler that torch's workers leave.

    Called while OpenVINO keeps AMX tiles, as no other process of ours does, it ends the tests.
    """
    yield
    if os.name == "posix":
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


@pytest.fixture(autouse=True, scope="session")
def exact_networks_of_the_paper() -> Iterator[Callable[..., bool]]:
    """Have tests run the paper's small networks in float32 unless they ask for bfloat16.

    On some processors `auto` takes bfloat16 for them, which changes the third decimal place. Other
    processes do so all the same. Gives what was patched.
    """
    faster = native.bf16_is_faster
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "bf16_is_faster", lambda *, wide: wide and faster(wide=wide))
        yield faster


@pytest.fixture
def processors_choice(
    exact_networks_of_the_paper: Callable[..., bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let this process choose between float32 and bfloat16 as other processes do."""
    monkeypatch.setattr(native, "bf16_is_faster", exact_networks_of_the_paper)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of pictures and weights that lies beside a checkout."""
    folder = Path(os.environ.get("CMUDRN_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the shared data folder is not here; CMUDRN_SHARED_DATA may say where it is")
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CMUDRN with random weights: two tasks, depth chosen at run time, T = S = 2."""
    tiny_onnx = pytest.importorskip("support.tiny_onnx", reason="onnx is not installed")
    weights = tiny_onnx.make_weights(np.random.default_rng(1), 0.5, features=8)
    folder = tmp_path_factory.mktemp("tiny")
    return Path(tiny_onnx.save(tiny_onnx.make_cmudrn(weights), folder / "tiny.onnx"))


@pytest.fixture(scope="session")
def far_sighted_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CMUDRN that depends on the very edge of its receptive field."""
    tiny_onnx = pytest.importorskip("support.tiny_onnx", reason="onnx is not installed")
    folder = tmp_path_factory.mktemp("far")
    model = tiny_onnx.make_cmudrn(tiny_onnx.make_far_sighted_weights())
    return Path(tiny_onnx.save(model, folder / "far.onnx"))


@pytest.fixture(scope="session")
def identity_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CMUDRN that returns its input."""
    tiny_onnx = pytest.importorskip("support.tiny_onnx", reason="onnx is not installed")
    folder = tmp_path_factory.mktemp("identity")
    model = tiny_onnx.make_cmudrn(tiny_onnx.make_identity_weights())
    return Path(tiny_onnx.save(model, folder / "identity.onnx"))


@pytest.fixture(scope="session")
def darkening_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CMUDRN whose rain branch darkens by 0.1, snow branch by 0.3, fused output by 0.2."""
    tiny_onnx = pytest.importorskip("support.tiny_onnx", reason="onnx is not installed")
    folder = tmp_path_factory.mktemp("darkening")
    model = tiny_onnx.make_cmudrn(tiny_onnx.make_darkening_weights())
    return Path(tiny_onnx.save(model, folder / "darkening.onnx"))


@pytest.fixture(scope="session")
def foreign_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of another project, which returns 1 - x."""
    tiny_onnx = pytest.importorskip("support.tiny_onnx", reason="onnx is not installed")
    folder = tmp_path_factory.mktemp("foreign")
    return Path(tiny_onnx.save(tiny_onnx.make_foreign(), folder / "foreign.onnx"))
