"""The native engine against ONNX Runtime, on every instruction set that this processor has."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmudrn.engines import open_engine
from cmudrn.engines.base import AdjustableEngine, available_cores
from cmudrn.engines.native import (
    BF16_SETS,
    FORCED_ISA,
    MIN_PSNR_DB,
    NativeEngine,
    NativeUnavailableError,
    instruction_sets,
    passes_precision_check,
    peak_gflops,
)
from cmudrn.engines.native.executor import LayerExecutor
from cmudrn.engines.native.library import load_library
from cmudrn.engines.native.precision_check import trial_picture
from cmudrn.engines.onnx import OnnxEngine
from cmudrn.errors import CmudrnError, InvalidSettingError
from cmudrn.image import read_image, to_batch
from cmudrn.models.registry import find_model

torch = pytest.importorskip("torch")

from cmudrn.export.onnx_graph import export_onnx  # noqa: E402
from cmudrn.networks.config import NetworkConfig  # noqa: E402
from cmudrn.networks.registry import make_network  # noqa: E402

pytestmark = pytest.mark.skipif(
    not instruction_sets(), reason="the native engine was not built here (no C++20 compiler)"
)

STRUCTURES: dict[str, dict[str, object]] = {
    "paper": {},
    "drn": {"kind": "drn"},
    "uneven": {"cross_stitch": {"a": 0.8}},
    "swapped": {"cross_stitch": {"a": 0.0, "positions": ["rb1"]}},
    "merged late": {"cross_stitch": {"a": 0.5, "positions": ["rb2"]}},
    "learned": {"cross_stitch": {"kind": "learned", "a": 0.9}},
    "learned everywhere": {
        "cross_stitch": {
            "kind": "learned",
            "a": 0.7,
            "positions": ["in", "rb1", "rb2", "rec", "img"],
        }
    },
    "off": {"cross_stitch": {"kind": "off"}},
    "small head": {"fusion": {"kernel": 1, "skip": True}},
    "after the recursions": {"cross_stitch": {"a": 0.5, "positions": ["rec", "img"]}},
    "three tasks": {"tasks": ["rain", "snow", "haze"], "cross_stitch": {"a": 1 / 3}},
    "literal": {"relu_output": True},
}


def export(structure: str, folder: Path) -> Path:
    """Write a network with PyTorch's start values, learned stitches made uneven."""
    torch.manual_seed(5)
    config = NetworkConfig.model_validate(STRUCTURES[structure])
    network, path = make_network(config), folder / f"{structure}.onnx"
    weights = {
        name: value + 0.1 * torch.randn_like(value) if "matrix" in name else value
        for name, value in network.state_dict().items()
    }
    export_onnx(config, weights, path, structure.replace(" ", "-"), elastic=True)
    return path


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export("paper", tmp_path_factory.mktemp("paper"))


@pytest.fixture(params=instruction_sets())
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("CMUDRN_NATIVE_ISA", request.param)
    yield request.param


def pictures(height: int, width: int, count: int = 1) -> np.ndarray:
    return np.random.default_rng(height * width).random((count, 3, height, width), np.float32)


def difference(path: Path, batch: np.ndarray, threads: int = 2, **depth: int) -> float:
    """Return the largest difference from ONNX Runtime over all outputs."""
    ours = NativeEngine(path, threads)(batch, branches=True, **depth)
    theirs = OnnxEngine(path, 1)(batch, branches=True, **depth)
    assert ours.branches.keys() == theirs.branches.keys()
    pairs = [(ours.restored, theirs.restored)]
    pairs += [(ours.branches[task], theirs.branches[task]) for task in ours.branches]
    assert all(a.shape == b.shape and a.dtype == b.dtype for a, b in pairs)
    return max(float(np.abs(a - b).max()) for a, b in pairs)


@pytest.mark.parametrize("structure", list(STRUCTURES))
def test_every_structure_equals_onnxruntime(structure: str, isa: str, tmp_path: Path) -> None:
    path = export(structure, tmp_path)
    assert NativeEngine(path).instruction_set == isa
    assert difference(path, pictures(21, 38)) < 1e-5
    assert difference(path, pictures(12, 9), stages=2, recursions=1) < 1e-5


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    stages=st.integers(1, 3),
    recursions=st.integers(1, 3),
    threads=st.integers(1, 3),
)
def test_any_size_and_depth_equals_onnxruntime(
    paper: Path, height: int, width: int, stages: int, recursions: int, threads: int
) -> None:
    batch = pictures(height, width)
    assert difference(paper, batch, threads, stages=stages, recursions=recursions) < 1e-5


@pytest.mark.parametrize("height, width", [(40, 1100), (700, 5), (65, 520)])
def test_many_strips_and_many_steps(paper: Path, isa: str, height: int, width: int) -> None:
    assert difference(paper, pictures(height, width), stages=2, recursions=2) < 1e-5


def test_deep_networks(paper: Path) -> None:
    assert difference(paper, pictures(33, 29), stages=7, recursions=7) < 1e-5


def test_a_batch_is_its_pictures(paper: Path) -> None:
    batch, engine = pictures(19, 23, count=3), NativeEngine(paper)
    whole = engine(batch, branches=True)
    for i, picture in enumerate(batch):
        alone = engine(picture[None], branches=True)
        assert np.array_equal(whole.restored[i], alone.restored[0])
        assert np.array_equal(whole.branches["snow"][i], alone.branches["snow"][0])


def test_other_threads_only_round_otherwise(paper: Path) -> None:
    batch = pictures(31, 600)
    one = NativeEngine(paper, 1)(batch, branches=True)
    many = NativeEngine(paper, 5)(batch, branches=True)
    assert np.abs(one.restored - many.restored).max() < 1e-6
    assert np.abs(one.branches["rain"] - many.branches["rain"]).max() < 1e-6


def test_a_repeated_call_gives_the_same_bits(paper: Path) -> None:
    engine, batch = NativeEngine(paper, 3), pictures(70, 200)
    assert np.array_equal(engine(batch).restored, engine(batch).restored)


@settings(max_examples=10, deadline=None)
@given(pieces=st.lists(st.integers(1, 90), min_size=1, max_size=6))
def test_rows_pushed_in_pieces_give_the_whole_picture(paper: Path, pieces: list[int]) -> None:
    engine, batch = NativeEngine(paper, 2), pictures(sum(pieces), 37)
    whole = engine(batch, branches=True, stages=2, recursions=1)
    ends = np.cumsum(pieces)
    with engine.stream(sum(pieces), 37, branches=True, stages=2, recursions=1) as stream:
        parts = [stream.push(rows) for rows in np.split(batch[0], ends[:-1], axis=1)]
    joined = np.concatenate([part.restored for part in parts], axis=2)
    assert np.array_equal(joined, whole.restored)
    snow = np.concatenate([part.branches["snow"] for part in parts], axis=2)
    assert np.array_equal(snow, whole.branches["snow"])


def test_rows_come_out_before_all_went_in(paper: Path) -> None:
    engine = NativeEngine(paper)
    with engine.stream(2000, 16, stages=1, recursions=1) as stream:
        first = stream.push(pictures(1000, 16)[0])
        assert first.branches == {}
        assert 900 < first.restored.shape[2] < 1000
        last = stream.push(pictures(1000, 16)[0])
    assert first.restored.shape[2] + last.restored.shape[2] == 2000


def test_a_stream_refuses_what_does_not_fit(paper: Path) -> None:
    with NativeEngine(paper).stream(10, 16) as stream:
        with pytest.raises(CmudrnError, match="shape"):
            stream.push(pictures(5, 17)[0])
        with pytest.raises(CmudrnError, match="10 rows"):
            stream.push(pictures(11, 16)[0])


def test_branches_come_only_when_asked_for(paper: Path) -> None:
    assert NativeEngine(paper)(pictures(4, 4)).branches == {}


def test_info_is_the_same_for_every_engine(paper: Path) -> None:
    assert NativeEngine(paper).info == OnnxEngine(paper).info


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 1, 8, 8), (0, 3, 8, 8), (1, 3, 0, 8)])
def test_a_wrong_batch_is_refused(paper: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(CmudrnError, match="shape"):
        NativeEngine(paper)(np.zeros(shape, np.float32))


@pytest.mark.parametrize("stages, recursions", [(0, 1), (-1, 1), (1, 65), (1000, 1), (1, -7)])
def test_a_wrong_depth_is_refused(paper: Path, stages: int, recursions: int) -> None:
    with pytest.raises(InvalidSettingError, match=r"[Ss]tages"):
        NativeEngine(paper)(pictures(4, 4), stages=stages, recursions=recursions)


def test_another_width_runs_as_layers(tiny_model: Path) -> None:
    batch = pictures(21, 38)
    ours, theirs = NativeEngine(tiny_model, 2)(batch), OnnxEngine(tiny_model, 1)(batch)
    assert np.abs(ours.restored - theirs.restored).max() < 1e-5


def test_a_network_of_unknown_layers_is_left_to_onnxruntime(foreign_model: Path) -> None:
    with pytest.raises(NativeUnavailableError, match="does not run the model"):
        NativeEngine(foreign_model)


def test_the_pipeline_and_the_executor_agree(paper: Path) -> None:
    engine, batch = NativeEngine(paper, 2), pictures(21, 38)
    layers = engine.info.layers(2, 3)
    assert layers is not None
    made = LayerExecutor(layers, engine.instruction_set, 2)(batch)
    whole = engine(batch, branches=True, stages=2, recursions=3)
    assert np.abs(made["restored"] - whole.restored).max() < 1e-5
    assert np.abs(made["snow"] - whole.branches["snow"]).max() < 1e-5


def test_an_engine_can_be_pickled(paper: Path) -> None:
    engine, batch = NativeEngine(paper, 1), pictures(9, 8)
    copy = pickle.loads(pickle.dumps(engine))
    assert copy.threads == 1
    assert np.array_equal(copy(batch).restored, engine(batch).restored)


HOSTILE_NUMBERS = (-(2**31), -1, 0, 65, 2**20 + 1, 2**31 - 1)


@pytest.mark.parametrize(
    "place", range(5), ids=["height", "width", "stages", "recursions", "threads"]
)
@pytest.mark.parametrize("number", HOSTILE_NUMBERS)
def test_the_compiled_library_refuses_numbers_out_of_bounds(
    paper: Path, place: int, number: int
) -> None:
    engine, library = NativeEngine(paper), load_library()
    assert engine._pipeline is not None
    numbers = [8, 8, 1, 1, 1]
    numbers[place] = number
    handle = library.cmudrn_stream_new(engine._pipeline._network, *numbers)
    taken = number == 65 and place in (0, 1, 4)
    assert (handle is not None) == taken
    if handle is not None:
        library.cmudrn_stream_free(handle)


def test_it_can_be_switched_off(paper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMUDRN_NO_NATIVE", "1")
    assert instruction_sets() == ()
    with pytest.raises(NativeUnavailableError, match="switched off"):
        NativeEngine(paper)


def test_an_unknown_instruction_set_is_refused(
    paper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CMUDRN_NATIVE_ISA", "mmx")
    with pytest.raises(CmudrnError, match="mmx"):
        NativeEngine(paper)


def test_the_peak_is_measured(isa: str) -> None:
    assert peak_gflops(rounds=100_000, threads=1) > 0


@pytest.fixture(params=BF16_SETS)
def open_rounded(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Path], NativeEngine]:
    """Return what opens a model in bfloat16, on every instruction set that multiplies it."""
    if request.param not in instruction_sets("bf16"):
        pytest.skip(f"this processor has no {request.param}")

    def open_model(path: Path) -> NativeEngine:
        with monkeypatch.context() as patch:
            patch.setenv(FORCED_ISA, request.param)
            engine = NativeEngine(path, precision="bf16")
        assert (engine.precision, engine.instruction_set) == ("bf16", request.param)
        return engine

    return open_model


def decibels(a: np.ndarray, b: np.ndarray) -> float:
    error = float(np.mean(np.square(a.clip(0, 1) - b.clip(0, 1))))
    return float(-10 * np.log10(max(error, 1e-20)))


@pytest.mark.parametrize("structure", list(STRUCTURES))
def test_bfloat16_is_near_on_every_structure(
    structure: str, tmp_path: Path, open_rounded: Callable[[Path], NativeEngine]
) -> None:
    path, batch = export(structure, tmp_path), trial_picture(61, 83)
    exact = NativeEngine(path)(batch, branches=True)
    rounded = open_rounded(path)(batch, branches=True)
    assert decibels(exact.restored, rounded.restored) > 45
    for task, estimate in exact.branches.items():
        assert decibels(estimate, rounded.branches[task]) > 45


@pytest.mark.parametrize("height, width", [(1, 1), (7, 3), (50, 530)])
def test_bfloat16_of_any_size(
    paper: Path, height: int, width: int, open_rounded: Callable[[Path], NativeEngine]
) -> None:
    batch = trial_picture(height, width)
    exact, rounded = NativeEngine(paper), open_rounded(paper)
    assert np.abs(exact(batch).restored - rounded(batch).restored).max() < 0.05


@pytest.mark.parametrize("model", ["cmudrn", "cmudrn-25k"])
def test_bfloat16_is_near_on_a_light_picture_in_shipped_models(
    model: str, open_rounded: Callable[[Path], NativeEngine]
) -> None:
    exact, rounded = NativeEngine(find_model(model)), open_rounded(find_model(model))
    batch = trial_picture(192, 304)
    assert decibels(exact(batch).restored, rounded(batch).restored) > MIN_PSNR_DB


@pytest.mark.parametrize("model", ["cmudrn", "cmudrn-25k"])
@pytest.mark.parametrize("name", ["rain", "snow", "drizzle"])
def test_bfloat16_keeps_the_promise_on_photographs(
    name: str, model: str, open_rounded: Callable[[Path], NativeEngine]
) -> None:
    picture = next(Path(__file__).parents[2].glob(f"samples/{name}.*"))
    batch = to_batch(read_image(picture)[:288, :400])
    exact, rounded = NativeEngine(find_model(model)), open_rounded(find_model(model))
    assert decibels(exact(batch).restored, rounded(batch).restored) > MIN_PSNR_DB


def test_a_broken_promise_is_noticed(paper: Path, tmp_path: Path) -> None:
    assert not passes_precision_check(NativeEngine(paper), NativeEngine(export("off", tmp_path)))


def test_a_forced_set_without_bfloat16_refuses_it(
    paper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CMUDRN_NATIVE_ISA", "portable")
    with pytest.raises(NativeUnavailableError, match="bfloat16"):
        NativeEngine(paper, precision="bf16")


@pytest.mark.parametrize(
    "limit, cores",
    [("50000 100000", 1), ("100000 100000", 1), ("max 100000", None), ("0 0", None), ("x", None)],
)
def test_a_container_limits_the_threads(limit: str, cores: int | None, tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text(limit)
    every = available_cores(tmp_path / "none")
    assert available_cores(tmp_path) == (every if cores is None else cores)


def test_float32_runs_where_it_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cmudrn.engines.native.bf16_is_faster", lambda wide: False)
    assert open_engine("cmudrn-25k", threads=1).precision == "fp32"


@pytest.mark.parametrize("name", ["cmudrn", "drn-rain"])
def test_threads_and_memory_change_no_number(name: str) -> None:
    """What is kept for the next call is freed, and the next call runs on other threads."""
    engine = NativeEngine(find_model(name), threads=1)
    assert isinstance(engine, AdjustableEngine)
    batch = np.random.default_rng(0).random((1, 3, 64, 96), np.float32)
    expected = engine(batch, branches=True)
    for threads in (3, 1, 2):
        engine.use_threads(threads)
        found = engine(batch, branches=True)
        engine.release_memory()
        np.testing.assert_array_equal(found.restored, expected.restored)
        for task, estimate in expected.branches.items():
            np.testing.assert_array_equal(found.branches[task], estimate)
        with engine.stream(64, 96) as stream:
            engine.release_memory()
            np.testing.assert_array_equal(stream.push(batch[0]).restored, expected.restored)
