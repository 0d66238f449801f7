"""The native engine: the paper's networks in their pipeline, all others as lists of layers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cmudrn.engines.base import Batch, EngineOutputs, available_cores, check_batch
from cmudrn.engines.native.executor import LayerExecutor
from cmudrn.engines.native.library import NativeUnavailableError, choose_instruction_set
from cmudrn.engines.native.pipeline import PaperPipeline
from cmudrn.engines.native.rows import NativeRowStream
from cmudrn.models.info import ModelInfo
from cmudrn.models.layers import LayerList
from cmudrn.models.model_file import ModelFile, make_info, open_model_file, parse_model

WHOLE_PIXELS = 2_100_000
"""A frame of 1920x1088 goes through at once, which is fastest; larger images in rows, of whose maps
only the latest rows are kept."""
STREAM_PIXELS = 800_000
"""From here on rows take clearly less memory than the whole image at once, and more time."""
STREAM_COLUMNS = 4608
"""An image of 12 megapixels is one strip."""
PIPELINE_COLUMNS = 3072
"""The paper's networks take more memory for each column: 12 megapixels are two strips of it."""
PAPERS_NETWORKS = ("cmudrn", "drn")
"""Kinds of network whose convolutions have sixteen channels or fewer."""
MAX_EXECUTORS = 4
"""Networks kept, each at one depth and with or without its branches."""


class NativeEngine:
    """Runs model files with the compiled library.

    It can be pickled: the copy is opened anew from the bytes of the model.

    Attributes:
        instruction_set: the one it uses, such as "avx2" or "amxbf16".
        precision: what it multiplies in: "fp32" or "bf16" (bfloat16; sums stay float32).
        threads: processor threads of a call.
        tile_pixels: the largest window, in pixels, that it is worth giving to a call.
        stream_columns: the widest image that it is worth giving to a stream.
        stream_pixels: the smallest image, in pixels, that it is worth giving to a stream.
    """

    tile_pixels = WHOLE_PIXELS
    stream_columns = STREAM_COLUMNS
    stream_pixels = STREAM_PIXELS

    def __init__(
        self,
        model: str | os.PathLike[str] | ModelFile,
        threads: int | None = None,
        precision: str = "fp32",
    ) -> None:
        """Open a model file.

        Args:
            model: the model file, or its path.
            threads: processor threads of a call; None is one for every core this process may use.
            precision: "fp32" or "bf16".

        Raises:
            NativeUnavailableError: no compiled library here, no bfloat16 in this processor, or a
                network that is no list of known layers.
            ModelFileError: the file cannot be read or is damaged.

        Example:
            >>> from cmudrn.models import find_model
            >>> NativeEngine(find_model("cmudrn"), threads=1).precision
            'fp32'
        """
        self.instruction_set: str = choose_instruction_set(precision)
        self.precision: str = precision
        self.threads: int = threads or available_cores()
        self._asked_threads = threads
        self._model = open_model_file(model)
        self._info = make_info(self._model)
        self._pipeline: PaperPipeline | None = None
        self._networks = _Networks(self.instruction_set, self.threads)
        if self._info.network in PAPERS_NETWORKS and self.instruction_set != "amxbf16":
            # The pipeline does not have every width and structure, nor tile registers.
            with contextlib.suppress(NativeUnavailableError):
                self._pipeline = PaperPipeline(
                    self._model, self._info, self.instruction_set, self.threads
                )
        if self._pipeline is not None:
            self.stream_columns = PIPELINE_COLUMNS
        else:
            layers = self._info.layers()
            if layers is None:
                raise NativeUnavailableError(
                    f"The native engine does not run the model {self._model.path}."
                )
            self._networks.find(layers, self._wanted(layers, branches=False))

    def __reduce__(self) -> tuple[Callable[..., NativeEngine], tuple[Any, ...]]:
        """Return how to open the model again."""
        about = (self._model.data, self._model.path, self._asked_threads, self.precision)
        return _reopen, about

    @property
    def info(self) -> ModelInfo:
        """What the model file says about itself."""
        return self._info

    def __call__(
        self,
        batch: Batch,
        *,
        branches: bool = False,
        stages: int | None = None,
        recursions: int | None = None,
    ) -> EngineOutputs:
        """Return the restored batch; see `Engine`.

        Raises:
            InvalidSettingError: the model does not take this depth.
            ImageValueError: the batch is none, or there is not enough memory for it.
        """
        check_batch(batch, self._info)
        if self._pipeline is not None:
            return self._pipeline(batch, branches=branches, stages=stages, recursions=recursions)
        network, outputs = self._find(branches, stages, recursions)
        made = network(batch)
        return EngineOutputs(
            made[network.outputs[0]], {task: made[name] for task, name in outputs.items()}
        )

    def stream(
        self,
        height: int,
        width: int,
        *,
        branches: bool = False,
        stages: int | None = None,
        recursions: int | None = None,
    ) -> NativeRowStream:
        """Return a stream that takes an image a few rows at a time; see `StreamingEngine`.

        Raises:
            InvalidSettingError: the model does not take this depth.
            ImageValueError: no such size, or not enough memory for it.
        """
        if self._pipeline is None:
            network, outputs = self._find(branches, stages, recursions)
            return network.stream(height, width, outputs)
        return self._pipeline.stream(
            height, width, branches=branches, stages=stages, recursions=recursions
        )

    def release_memory(self) -> None:
        """Free what is kept for the next call; see `AdjustableEngine`."""
        self._networks.release_memory()

    def use_threads(self, threads: int) -> None:
        """Run the next calls on another number of threads; see `AdjustableEngine`.

        The paper's pipeline keeps its own: the last bits of its sums depend on it.
        """
        if self._pipeline is None:
            self.threads = threads
            self._networks.use_threads(threads)

    def _find(
        self, branches: bool, stages: int | None, recursions: int | None
    ) -> tuple[LayerExecutor, dict[str, str]]:
        """Return the network of a call, and which output of it is each task's estimate."""
        layers = self._info.layers(stages, recursions)
        assert layers is not None  # or the engine would not have been opened
        network = self._networks.find(layers, self._wanted(layers, branches=branches))
        tasks = self._info.tasks if branches else ()
        own = {task: task if task in network.outputs else network.outputs[0] for task in tasks}
        return network, own

    def _wanted(self, layers: LayerList, *, branches: bool) -> tuple[str, ...]:
        """Return the outputs that a call needs."""
        restored = "restored" if "restored" in layers.outputs else next(iter(layers.outputs))
        tasks = [task for task in self._info.tasks if branches and task in layers.outputs]
        return (restored, *tasks)


def _reopen(data: bytes, path: str, threads: int | None, precision: str) -> NativeEngine:
    return NativeEngine(parse_model(data, path), threads, precision)


@dataclass
class _Networks:
    """Networks that were compiled, the last used last."""

    instruction_set: str
    threads: int
    kept: dict[tuple[LayerList, tuple[str, ...]], LayerExecutor] = field(default_factory=dict)

    def find(self, layers: LayerList, outputs: tuple[str, ...]) -> LayerExecutor:
        """Return a network that makes some of its outputs, compiled at its first use."""
        key = (layers, outputs)
        network = self.kept.pop(key, None)
        if network is None:
            wanted = layers.restricted(outputs)
            network = LayerExecutor(wanted, self.instruction_set, self.threads)
            while len(self.kept) >= MAX_EXECUTORS:
                self.kept.pop(next(iter(self.kept)))
        self.kept[key] = network
        return network

    def release_memory(self) -> None:
        """Free what each keeps for its next call."""
        for network in self.kept.values():
            network.release_memory()

    def use_threads(self, threads: int) -> None:
        """Run the next calls on another number of threads."""
        self.threads = threads
        for network in self.kept.values():
            network.use_threads(threads)
