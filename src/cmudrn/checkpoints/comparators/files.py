"""Other people's torch files: the numbers in them, and nothing that could run."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cmudrn.errors import CmudrnError

UNREADABLE = (
    OSError,
    RuntimeError,
    KeyError,
    IndexError,
    AttributeError,
    TypeError,
    ValueError,
    AssertionError,
    RecursionError,
    EOFError,
    MemoryError,
    zipfile.BadZipFile,
    pickle.UnpicklingError,
)
"""What torch, or h5py, raises at wrong files."""


class StandIn:
    """Takes the place of any Python object beside the weights: it holds nothing, does nothing."""

    def __init__(self, *_: object, **__: object) -> None:
        """Take what the object would have been made of, and forget it."""

    def __setstate__(self, _: object) -> None:
        """Forget what the object would have held."""

    def __setitem__(self, _: object, __: object) -> None:
        """Forget an entry."""

    def append(self, _: object) -> None:
        """Forget a member."""

    def extend(self, _: object) -> None:
        """Forget members."""


def read_state(path: Path, whose: str) -> dict[str, Tensor]:
    """Return the weights in a torch file, which may be a whole checkpoint.

    Only tensors and plain containers are loaded (`weights_only=True`). A checkpoint holds other
    objects too, such as a schedule: each becomes a stand-in, so nothing in the file is executed.

    Args:
        path: of the file.
        whose: whose file it should be, for the message.

    Raises:
        CmudrnError: there is no such file, or it holds no weights.
    """
    if not path.is_file():
        raise CmudrnError(f"There is no weight file {path}.")
    try:
        with warnings.catch_warnings(action="ignore"):  # of old torch, and of pickle's protocols
            held = _load(path)
    except UNREADABLE as error:
        raise CmudrnError(
            f"{path} is not a weight file of {whose}, or holds more than weights can be read from "
            f"without running what is in it ({type(error).__name__})."
        ) from error
    if isinstance(held, Mapping) and isinstance(held.get("state_dict"), Mapping):
        held = held["state_dict"]
    if not isinstance(held, Mapping) or not held or not all(map(_is_weight, held.items())):
        raise CmudrnError(f"{path} is not a weight file of {whose}: it holds no table of weights.")
    return {str(name).removeprefix("module."): value for name, value in held.items()}


def _is_weight(entry: tuple[object, object]) -> bool:
    return isinstance(entry[0], str) and isinstance(entry[1], Tensor)


def _load(path: Path) -> Any:
    """Return what the file holds, with stand-ins for all that is neither tensor nor container."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        unknown = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        with torch.serialization.safe_globals([(StandIn, name) for name in unknown]):
            return torch.load(path, map_location="cpu", weights_only=True)


def fill(
    network: nn.Module,
    state: Mapping[str, Tensor],
    path: Path,
    whose: str,
    *,
    surplus: Callable[[str], bool] = lambda _: False,
) -> None:
    """Put weights into a network: all that it has, and none that it has not.

    Args:
        network: to be filled.
        state: name -> weight.
        path: where they come from, for the message.
        whose: likewise.
        surplus: tells names in the file that the network does without.

    Raises:
        CmudrnError: a weight is missing, unknown, of another shape, or holds no numbers.
    """
    wanted, given = network.state_dict(), {n: v for n, v in state.items() if not surplus(n)}
    fault = ""
    if missing := [name for name in wanted if name not in given]:
        fault = f"{missing[0]} is missing"
    elif unknown := [name for name in given if name not in wanted]:
        fault = f"{unknown[0]} is none of its weights"
    else:
        for name, value in given.items():
            fault = fault or _fault(name, value, wanted[name])
    if fault:
        raise CmudrnError(f"{path} does not hold the weights of {whose}: {fault}.")
    network.load_state_dict(given)
    network.eval()


def _fault(name: str, value: Tensor, wanted: Tensor) -> str:
    """Return what is wrong with a weight, "" where nothing is."""
    if value.shape != wanted.shape:
        return f"{name} has the shape {tuple(value.shape)} instead of {tuple(wanted.shape)}"
    if value.layout != torch.strided or value.is_complex() or value.is_quantized:
        return f"{name} is no plain array of numbers"
    if not torch.isfinite(value).all():
        return f"{name} holds values that are no numbers"
    return ""
