"""The executor of lists of layers against ONNX Runtime, on random networks."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.wide_networks import NetworkBuilder, random_network, run_onnxruntime

from cmudrn.engines.native import BF16_SETS, NativeUnavailableError, instruction_sets
from cmudrn.engines.native.executor import LayerExecutor
from cmudrn.engines.native.program_writer import MAX_OPERATIONS
from cmudrn.errors import ImageValueError
from cmudrn.models.layers import Floats, LayerList

pytestmark = pytest.mark.skipif(
    not instruction_sets(), reason="the native engine was not built here (no C++20 compiler)"
)

EXAMPLES = int(os.environ.get("CMUDRN_TEST_NETWORKS", "100"))
"""Random networks that are tried; more by this environment variable."""


def images(height: int, width: int) -> Floats:
    batch: Floats = np.random.default_rng(height * width).random((1, 3, height, width), np.float32)
    return batch


def difference(network: LayerList, batch: Floats, instruction_set: str, threads: int) -> float:
    """Return the largest difference from ONNX Runtime, where outputs are larger than 1 of them."""
    ours = LayerExecutor(network, instruction_set, threads)(batch)
    theirs = run_onnxruntime(network, batch)
    assert ours.keys() == theirs.keys()
    return max(
        float(np.abs(ours[name] - theirs[name]).max() / max(1, np.abs(theirs[name]).max()))
        for name in theirs
    )


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    instruction_set=st.sampled_from(instruction_sets() or ("none",)),
    threads=st.integers(1, 3),
)
def test_random_networks_equal_onnxruntime(
    seed: int, rows: int, columns: int, instruction_set: str, threads: int
) -> None:
    network = random_network(seed)
    side = max(8, network.alignment)
    batch = images(rows * side, columns * side)
    assert difference(network, batch, instruction_set, threads) < 1e-5


@settings(
    max_examples=EXAMPLES // 2,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    seed=st.integers(0, 2**32 - 1),
    instruction_set=st.sampled_from([*instruction_sets(), *instruction_sets("bf16")]),
    rows=st.integers(2, 20),
    columns=st.integers(1, 30),
    step=st.sampled_from([8, 16, 32, 64]),
    pieces=st.lists(st.integers(0, 40), max_size=6),
    threads=st.integers(1, 5),
)
def test_rows_pushed_in_pieces_give_the_whole_image(
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
    instruction_set: str,
    rows: int,
    columns: int,
    step: int,
    pieces: list[int],
    threads: int,
) -> None:
    monkeypatch.setattr("cmudrn.engines.native.executor.STEP_PIXELS", 0)
    monkeypatch.setattr("cmudrn.engines.native.executor.STEP_ROWS", step)
    network = random_network(seed)
    side = max(8, network.alignment)
    height, width = rows * side, columns * side
    batch = images(height, width)
    executor = LayerExecutor(network, instruction_set, threads)
    whole = executor(batch)
    for _ in range(2):  # the second image takes the memory of the first
        with executor.stream(height, width, {name: name for name in whole}) as stream:
            parts = [stream.push(part) for part in np.split(batch[0], np.cumsum(pieces), axis=1)]
        for name, image in whole.items():
            joined = np.concatenate([part.branches[name] for part in parts], axis=2)
            assert np.array_equal(joined, image)


def test_rows_come_out_before_all_went_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cmudrn.engines.native.executor.STEP_PIXELS", 0)
    executor = LayerExecutor(residual_network(24), instruction_sets()[0], 1)
    with executor.stream(1000, 32, {}) as stream:
        assert 300 < stream.push(images(500, 32)[0]).restored.shape[2] < 500
    with executor.stream(1000, 32, {}) as stream, pytest.raises(ImageValueError, match="1000 rows"):
        stream.push(images(1001, 32)[0])


def residual_network(width: int) -> LayerList:
    """Return three convolutions at half resolution, in two groups."""
    build = NetworkBuilder(1)
    x = build.add("pixel_unshuffle", 0, channels=12, scale=2, block=2)
    x = build.relu(build.conv(x, width))
    x = build.sum(x, build.conv(build.relu(build.conv(x, width, groups=2)), width, groups=2))
    x = build.add("pixel_shuffle", build.conv(x, 12), channels=3, scale=0.5, block=2)
    return build.finish(restored=build.sum(0, x))


@pytest.mark.parametrize("instruction_set", (*instruction_sets(), *instruction_sets("bf16")))
def test_results_do_not_depend_on_the_number_of_threads(instruction_set: str) -> None:
    network, batch = residual_network(48), images(262, 410)
    one, many = (LayerExecutor(network, instruction_set, n)(batch)["restored"] for n in (1, 7))
    assert np.array_equal(one, many)


@pytest.mark.parametrize("height, width", [(2, 2), (2, 900), (900, 2), (66, 1030)])
@pytest.mark.parametrize("instruction_set", instruction_sets())
def test_awkward_sizes(instruction_set: str, height: int, width: int) -> None:
    assert difference(residual_network(40), images(height, width), instruction_set, 2) < 1e-5


def test_memory_of_another_size_does_not_show() -> None:
    executor = LayerExecutor(residual_network(24), "portable", 2)
    first = executor(images(64, 48))["restored"]
    executor(np.full((2, 3, 128, 32), 1e30, np.float32))
    assert np.array_equal(executor(images(64, 48))["restored"], first)


def test_a_size_that_the_network_does_not_take_is_refused() -> None:
    with pytest.raises(ImageValueError, match="33x32"):
        LayerExecutor(residual_network(24), "portable", 1)(images(32, 33))


def test_a_network_that_is_too_long_is_left_to_another_engine() -> None:
    build = NetworkBuilder(0)
    x = build.conv(0, 3, 1)
    for _ in range(MAX_OPERATIONS):
        x = build.add("gelu", x, channels=3)
    with pytest.raises(NativeUnavailableError, match="operations"):
        LayerExecutor(build.finish(restored=x), "portable", 1)


def relative_error(network: LayerList, batch: Floats, instruction_set: str) -> float:
    """Return the mean square of what rounding changes, in parts of the outputs'."""
    if instruction_set not in instruction_sets("bf16"):
        pytest.skip(f"this processor has no {instruction_set}")
    exact = LayerExecutor(network, "portable", 2)(batch)
    rounded = LayerExecutor(network, instruction_set, 2)(batch)
    changed = sum(float(np.square(exact[name] - rounded[name]).sum()) for name in exact)
    return changed / sum(float(np.square(image).sum()) for image in exact.values())


@pytest.mark.parametrize("instruction_set", BF16_SETS)
@pytest.mark.parametrize("height, width", [(64, 96), (2, 2), (2, 900), (900, 2), (66, 1030)])
def test_bfloat16_is_near(instruction_set: str, height: int, width: int) -> None:
    assert 0 < relative_error(residual_network(40), images(height, width), instruction_set) < 1e-4


@pytest.mark.parametrize("instruction_set", BF16_SETS)
@pytest.mark.parametrize("channels", [8, 9, 16, 24, 33, 48, 64])
@pytest.mark.parametrize("kernel, stride", [(1, 1), (1, 2), (3, 1), (3, 2), (5, 1), (7, 2)])
def test_bfloat16_convolutions(
    instruction_set: str, channels: int, kernel: int, stride: int
) -> None:
    build = NetworkBuilder(channels)
    x = build.conv(0, 2 * channels, 1)
    x = build.conv(x, 2 * channels, kernel, stride, groups=2)
    x = build.conv(x, 3 * stride**2, 1)
    if stride > 1:
        x = build.add("pixel_shuffle", x, channels=3, scale=1 / stride, block=stride)
    network = build.finish(restored=x)
    assert relative_error(network, images(12, 88), instruction_set) < 1e-4


@settings(
    max_examples=EXAMPLES // 4,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(seed=st.integers(0, 2**32 - 1), columns=st.integers(1, 9))
@pytest.mark.parametrize("instruction_set", BF16_SETS)
def test_bfloat16_is_near_in_random_networks(instruction_set: str, seed: int, columns: int) -> None:
    network = random_network(seed)
    side = max(8, network.alignment)
    assert relative_error(network, images(2 * side, columns * side), instruction_set) < 1e-3
