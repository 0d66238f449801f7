"""Engines run one exported network on one batch; `open_engine` chooses one."""

from __future__ import annotations

import os

from cmudrn.engines.engine import Batch, Engine, EngineInfo, EngineOutputs, receptive_field
from cmudrn.engines.registry import ShippedModel, find_model, shipped_models
from cmudrn.errors import CmudrnError

ENGINES = ("auto", "onnx")
"""What `engine` may be; "auto" takes the fastest that can run the model."""


def open_engine(
    model: str | os.PathLike[str], engine: str = "auto", threads: int | None = None
) -> Engine:
    """Return a model ready to run.

    Args:
        model: a shipped model's name, or the path of an ONNX file.
        engine: one of `ENGINES`.
        threads: processor threads of a call; None is one for every core this process may use.

    Raises:
        CmudrnError: there is no such model or engine, or the file is damaged.
    """
    if threads is not None and threads < 1:
        raise CmudrnError(f"A number of threads starts at 1; it is {threads}.")
    path = find_model(model)
    match engine:
        case "auto" | "onnx":
            from cmudrn.engines.onnx import OnnxEngine

            return OnnxEngine(path, threads)
        case _:
            raise CmudrnError(f"There is no engine {engine!r}; there are {', '.join(ENGINES)}.")


__all__ = [
    "ENGINES",
    "Batch",
    "Engine",
    "EngineInfo",
    "EngineOutputs",
    "ShippedModel",
    "find_model",
    "open_engine",
    "receptive_field",
    "shipped_models",
]
