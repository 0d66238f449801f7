"""The portable engine: ONNX Runtime on the processor."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from cmudrn.engines.base import Batch, EngineOutputs, available_cores
from cmudrn.errors import CmudrnError
from cmudrn.models.info import ModelInfo, check_depth
from cmudrn.models.model_file import make_info, read_model_file

ort.set_default_logger_severity(4)  # a failure is raised, and told once


class OnnxEngine:
    """Runs one ONNX model file.

    Besides the project's own models (docs/file-formats.md) it takes any model with a single
    image input (N, 3, H, W) float32, whose first output is the restored image.

    Args:
        path: the model file.
        threads: processor threads of a call; None is one for every core this process may use.

    Raises:
        CmudrnError: the file cannot be read, or is no such model.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int | None = None) -> None:
        self._path = str(Path(path))
        model = read_model_file(path)
        self._info = make_info(model)
        self._session = _make_session(model.data, self._path, threads)
        self._input = self._image_input()

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
            CmudrnError: the model does not take this depth or this batch.
        """
        depth = check_depth(self._info, stages, recursions)
        feeds: dict[str, Any] = {self._input: np.ascontiguousarray(batch, dtype=np.float32)}
        if self._info.adjustable:
            feeds |= {
                key: np.array(value, np.int64)
                for key, value in zip(("stages", "recursions"), depth, strict=True)
            }
        outputs = [entry.name for entry in self._session.get_outputs()]
        tasks = [task for task in self._info.tasks if branches and task in outputs]
        first = "restored" if self._info.network != "other" else outputs[0]
        try:
            restored, *estimates = self._session.run([first, *tasks], feeds)
        except Exception as error:  # ONNX Runtime's errors have no common type
            raise CmudrnError(
                f"The model {self._path} failed on a batch of shape {batch.shape}: "
                f"{_first_line(error)}."
            ) from error
        if restored.shape != batch.shape:
            raise CmudrnError(
                f"The model {self._path} turned a batch of shape {batch.shape} into "
                f"{restored.shape}; it has to keep the shape."
            )
        if branches and not tasks:
            return EngineOutputs(restored, {task: restored for task in self._info.tasks})
        return EngineOutputs(restored, dict(zip(tasks, estimates, strict=True)))

    def _image_input(self) -> str:
        inputs = {entry.name: entry for entry in self._session.get_inputs()}
        images = [name for name in inputs if name not in ("stages", "recursions")]
        if len(images) != 1:
            raise CmudrnError(f"The model {self._path} has {len(images)} image inputs, not one.")
        image = inputs[images[0]]
        channels = image.shape[1] if len(image.shape) == 4 else None
        if image.type != "tensor(float)" or not (channels == 3 or isinstance(channels, str)):
            raise CmudrnError(
                f"The model {self._path} takes {image.type} of shape {image.shape}; "
                "an image input is float32 of shape (N, 3, H, W)."
            )
        return str(images[0])


def _make_session(data: bytes, path: str, threads: int | None) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or available_cores()
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Waiting threads may spin during a call, but not between calls.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no common type
        raise CmudrnError(f"{path} is not a usable ONNX model: {_first_line(error)}.") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(". ")[:200]
