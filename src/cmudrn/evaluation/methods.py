"""What can be scored: models, other people's results, any Python function."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cmudrn.datasets import Pair
from cmudrn.datasets.files import list_pictures
from cmudrn.engines import Engine
from cmudrn.errors import CmudrnError
from cmudrn.evaluation.costs import UNKNOWN_COST, Cost, model_cost
from cmudrn.image import Image, read_image
from cmudrn.restoration import Restorer, RestoreSettings, restore_image

INPUT = "input"
"""The row of the degraded pictures themselves."""

COMPARATORS = ("tkl", "hdcwnet", "airnet", "prenet")
"""What stands before the colon of `KIND:FILE`, a weight file of another project's authors."""


@dataclass(frozen=True)
class Method:
    """Something that makes a restored picture of a pair.

    Attributes:
        name: its row in a table.
        restore: pair -> (H, W, 3) float32 RGB in [0, 1], of the pair's shape; it must not look
            at the pair's clean picture.
        cost: what is known of it.
        timed: whether the time that `restore` takes says anything.
        note: a sentence that a table with this row must not leave out; mostly "".
    """

    name: str
    restore: Callable[[Pair], Image]
    cost: Cost = UNKNOWN_COST
    timed: bool = True
    note: str = ""


def input_method() -> Method:
    """Return the method that does nothing."""
    return Method(INPUT, lambda pair: pair.degraded, timed=False)


def engine_method(
    name: str,
    engine: Engine,
    stages: int | None = None,
    recursions: int | None = None,
    *,
    change_gating: bool = True,
    dehaze: bool | None = None,
    cost: Cost | None = None,
    note: str = "",
) -> Method:
    """Return a model as a method, at a depth of its own or a chosen one; see `Restorer`.

    Args:
        name: its row in a table.
        engine: runs the model.
        stages: T; None is the model's own.
        recursions: S; None is the model's own.
        change_gating: as for `Restorer`.
        dehaze: as for a `Restorer`'s call.
        cost: None is what the model's record says.
        note: as for a `Method`.

    Raises:
        CmudrnError: the model does not take this depth.
    """
    restorer = Restorer(engine, change_gating=change_gating)
    return Method(
        name,
        lambda pair: restorer(pair.degraded, stages=stages, recursions=recursions, dehaze=dehaze),
        cost or model_cost(engine.info, stages, recursions),
        note=note,
    )


def branch_methods(
    name: str,
    engine: Engine,
    stages: int | None = None,
    recursions: int | None = None,
    dehaze: bool | None = None,
) -> list[Method]:
    """Return each branch's own estimate as a method: what a perfect choice of branch would give."""
    restorer = Restorer(engine)

    def of_task(task: str) -> Method:
        def restore(pair: Pair) -> Image:
            settings = RestoreSettings(1.0, stages, recursions, layers=True, dehazing=dehaze)
            done = restore_image(restorer, pair.degraded, settings)
            return np.clip(done.branches[task], 0, 1)

        return Method(f"{name} ({task} branch)", restore, timed=False)

    return [of_task(task) for task in engine.info.tasks]


def folder_method(folder: Path, name: str = "") -> Method:
    """Return the results in a folder as a method; a result has its pair's name.

    `Train/7` is looked for at that path, then as `7`, under any picture suffix.

    Raises:
        CmudrnError: there is no such folder, or two files in it are results of one name; later, a
            result is missing.
    """
    if not folder.is_dir():
        raise CmudrnError(f"There is no folder {folder}.")
    results: dict[str, Path] = {}
    for path in list_pictures(folder):
        key = path.relative_to(folder).with_suffix("").as_posix()
        if results.setdefault(key, path) != path:
            raise CmudrnError(f"{results[key]} and {path} are two results of one name.")

    def restore(pair: Pair) -> Image:
        for key in (pair.name, Path(pair.name).name):
            if key in results:
                return read_image(results[key])
        raise CmudrnError(f"{folder} holds no result for {pair.name}.")

    return Method(name or folder.name or str(folder), restore, timed=False)


def python_method(text: str, name: str = "") -> Method:
    """Return a Python function, "module:function", as a method.

    It is called with the degraded picture, (H, W, 3) float32 RGB in [0, 1], and returns the
    restored one likewise. Modules in the working directory are found too.

    Raises:
        CmudrnError: there is no such module or function, or the module fails when it is imported;
            later, the function fails or returns whole numbers.
    """
    module_name, _, function_name = text.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        function: Any = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise CmudrnError(f"There is no Python function {text}: {error}.") from error
    except (Exception, SystemExit) as error:
        raise CmudrnError(f"{module_name} cannot be imported: {_told(error)}.") from error

    def restore(pair: Pair) -> Image:
        try:
            made = np.asarray(function(pair.degraded.copy()))
            restored = made.astype(np.float32)
        except (Exception, SystemExit) as error:
            raise CmudrnError(f"{text} failed on {pair.name}: {_told(error)}.") from error
        if made.dtype.kind in "iub":  # their range is not known: a dim picture could be of 0 to 255
            raise CmudrnError(
                f"{text} made {pair.name} of {made.dtype} values; "
                "a picture has values from 0 to 1 of a float type."
            )
        return restored

    return Method(name or text, restore)


def _told(error: BaseException) -> str:
    """Return the kind of an error and what it says in one line; some say nothing by themselves."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def is_python(text: str) -> bool:
    """Return whether a text is written as `module:function`."""
    module, colon, function = text.partition(":")
    return bool(colon) and function.isidentifier() and all(map(str.isidentifier, module.split(".")))


def is_comparator(text: str) -> bool:
    """Return whether a text is written as `KIND:FILE` with one of `COMPARATORS`."""
    kind, colon, path = text.partition(":")
    return bool(colon and path) and kind in COMPARATORS
