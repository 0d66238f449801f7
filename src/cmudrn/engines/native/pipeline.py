"""The paper's networks in the compiled pipeline that was written for them."""

from __future__ import annotations

import numpy as np

from cmudrn.engines.base import Batch, EngineOutputs
from cmudrn.engines.native.library import NativeUnavailableError, load_library
from cmudrn.engines.native.rows import NativeRowStream
from cmudrn.engines.native.weights import native_weights
from cmudrn.errors import ImageValueError, InvalidSettingError
from cmudrn.models.info import ModelInfo, check_depth
from cmudrn.models.model_file import ModelFile

MAX_SIDE = 1 << 20
"""Pixels; keeps every index of the compiled code far from overflow."""
MAX_DEPTH = 64
"""Stages or recursions; keeps memory in bounds."""


class PaperPipeline:
    """The paper's networks (CMUDRN and DRN of 16 features) in the pipeline written for them.

    Rows flow through all stages at once, so that memory grows with the width of an image and not
    with its height.

    Attributes:
        branches: how many the network has.
        tasks: what each branch removes.
    """

    def __init__(
        self, model: ModelFile, info: ModelInfo, instruction_set: str, threads: int
    ) -> None:
        """Take a model's weights.

        Args:
            model: the file.
            info: what it says about itself.
            instruction_set: one of those that this processor has.
            threads: processor threads of a call.

        Raises:
            NativeUnavailableError: no compiled library here, or another network.
        """
        self._network: int | None = None
        self._library = load_library()
        self._info, self._threads = info, threads
        weights = native_weights(model, info.metadata)
        self.branches, self.tasks = weights.branches, info.tasks
        self._network = self._library.cmudrn_network_new(
            instruction_set.encode(),
            weights.branches,
            weights.fused,
            weights.fusion_skip,
            weights.relu_output,
            weights.numbers.ctypes.data,
            weights.numbers.size,
        )
        if self._network is None:
            raise NativeUnavailableError(f"The native engine does not take the model {model.path}.")

    def __del__(self) -> None:
        """Free the compiled network."""
        if self._network is not None:
            self._library.cmudrn_network_free(self._network)

    def __call__(
        self, batch: Batch, *, branches: bool, stages: int | None, recursions: int | None
    ) -> EngineOutputs:
        """Return the restored batch; see `Engine`."""
        done = []
        for image in batch:
            with self.stream(
                *image.shape[1:], branches=branches, stages=stages, recursions=recursions
            ) as stream:
                done.append(stream.push(image))
        tasks = done[0].branches
        return EngineOutputs(
            np.concatenate([one.restored for one in done]),
            {task: np.concatenate([one.branches[task] for one in done]) for task in tasks},
        )

    def stream(
        self,
        height: int,
        width: int,
        *,
        branches: bool = False,
        stages: int | None = None,
        recursions: int | None = None,
    ) -> PipelineStream:
        """Return a stream that takes an image of that size a few rows at a time.

        Args:
            height: rows that will be pushed in all.
            width: columns.
            branches: also return each branch's estimate.
            stages: T for this image; None is the model's own.
            recursions: S for this image; None is the model's own.

        Raises:
            InvalidSettingError: the model does not take this depth.
            ImageValueError: no such size, or not enough memory for it.
        """
        depth = check_depth(self._info, stages, recursions)
        if not 1 <= min(depth) <= max(depth) <= MAX_DEPTH:
            raise InvalidSettingError(
                f"The native engine runs 1 to {MAX_DEPTH} stages and recursions, "
                f"not {depth[0]} and {depth[1]}."
            )
        if min(height, width) < 1 or max(height, width) > MAX_SIDE:
            raise ImageValueError(f"The native engine cannot take an image of {width}x{height}.")
        handle = self._library.cmudrn_stream_new(
            self._network, height, width, *depth, self._threads
        )
        if handle is None:
            raise ImageValueError(f"There is not enough memory for an image of {width}x{height}.")
        return PipelineStream(self, handle, height, width, branches)


class PipelineStream(NativeRowStream):
    """One image on its way through a `PaperPipeline`, whose `stream` makes it."""

    def __init__(
        self, pipeline: PaperPipeline, handle: int, height: int, width: int, branches: bool
    ) -> None:
        """Take over a compiled stream."""
        super().__init__(height, width)
        self._pipeline, self._handle, self._branches = pipeline, handle, branches
        self._library = load_library()

    def close(self) -> None:
        """Give the memory back; the stream is then of no more use."""
        if self._handle:
            self._library.cmudrn_stream_free(self._handle)
            self._handle = 0

    def _run(self, rows: Batch, room: int) -> tuple[int, EngineOutputs]:
        restored = np.empty((1, 3, room, self._width), np.float32)
        count = self._pipeline.branches if self._branches else 0
        estimates = np.empty((count, 3, room, self._width), np.float32)
        done = self._library.cmudrn_stream_push(
            self._handle,
            rows.ctypes.data,
            rows.shape[1] * self._width,
            rows.shape[1],
            restored.ctypes.data,
            estimates.ctypes.data if count else None,
            room * self._width,
        )
        return int(done), EngineOutputs(restored, self._by_task(estimates))

    def _by_task(self, estimates: Batch) -> dict[str, Batch]:
        """Return the branches by task; a lone branch answers for all of its tasks."""
        tasks = self._pipeline.tasks if self._branches else ()
        alone = len(estimates) == 1
        return {task: estimates[0 if alone else b][None] for b, task in enumerate(tasks)}
