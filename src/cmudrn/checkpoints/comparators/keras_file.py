"""The HDCW-Net authors' Keras file: names tell which weight is which, places and shapes confirm it.

`h5py` reads it. Only numbers are read: the file's description of a model, which may hold code, is
not looked at, and links to other files are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmudrn.checkpoints.comparators.files import UNREADABLE
from cmudrn.errors import CmudrnError
from cmudrn.networks.comparators import hdcwnet_roles as roles

TO_TORCH = {"kernel": (3, 2, 0, 1), "alpha": (2, 0, 1)}
"""Weight -> the order of its Keras dimensions in torch; transposed convolutions likewise."""


class _WrongFileError(ValueError):
    """What is wrong with a file, to be put into a sentence."""


@dataclass(frozen=True)
class KerasWeights:
    """What a file holds.

    Attributes:
        state: name in our network -> weight.
        in_place: whether every layer stands where Keras 2.15 would put it; where not, only the
            numbers in the layers' names say which is which.
    """

    state: dict[str, Tensor]
    in_place: bool


def read_keras(path: Path, shapes: dict[str, tuple[int, ...]]) -> KerasWeights:
    """Return the weights in a Keras file of HDCW-Net.

    Args:
        path: of the file.
        shapes: name in our network -> shape that its weight must have.

    Raises:
        CmudrnError: h5py is missing, there is no such file, or it is no such weight file.
    """
    try:
        import h5py  # noqa: PLC0415  (an extra of its own)
    except ImportError as error:
        raise CmudrnError(
            f"Reading {path} needs one more package: pip install 'cmudrn[comparators]'."
        ) from error
    if not path.is_file():
        raise CmudrnError(f"There is no weight file {path}.")
    try:
        with h5py.File(path, "r") as file:
            return _read(h5py, file, shapes)
    except _WrongFileError as error:
        raise CmudrnError(f"{path} is not the weight file of HDCW-Net: {error}.") from error
    except UNREADABLE as error:
        raise CmudrnError(f"{path} is not the weight file of HDCW-Net.") from error


def _read(h5py: Any, file: Any, shapes: dict[str, tuple[int, ...]]) -> KerasWeights:
    root = _member(h5py, file, "model_weights") if "model_weights" in file else file
    layers: dict[str, list[str]] = {}
    for name in _texts(root, "layer_names"):
        weights = _texts(_member(h5py, root, name), "weight_names")
        if weights:
            layers[name] = weights
    by_role = _match(list(layers))
    state: dict[str, Tensor] = {}
    for role, name in by_role.items():
        wanted = roles.WEIGHTS[roles.class_of(role)]
        if len(layers[name]) != len(wanted):
            raise _WrongFileError(
                f"layer {name} has {len(layers[name])} weights instead of {len(wanted)}"
            )
        for weight, place in zip(wanted, layers[name], strict=True):
            key = roles.torch_key(role, weight)
            held = _member(h5py, root, f"{name}/{place}")
            state[key] = _tensor(h5py, held, weight, shapes[key], place)
    return KerasWeights(state, [by_role[role] for role in roles.in_file()] == list(layers))


def _match(names: list[str]) -> dict[str, str]:
    """Return role -> layer, by the numbers that Keras gave the layers when they were made."""
    numbered: dict[str, list[tuple[int, str]]] = {kind: [] for kind in roles.NUMBERED.values()}
    matched = {}
    for name in names:
        base, _, number = name.rpartition("_")
        if name in roles.NAMED:
            matched[roles.NAMED[name]] = name
        elif name in roles.NUMBERED:
            numbered[roles.NUMBERED[name]].append((0, name))
        elif base in roles.NUMBERED and number.isascii() and number.isdigit():
            numbered[roles.NUMBERED[base]].append((int(number[:9]), name))
        else:
            raise _WrongFileError(f"it has no layer called {name!r}")
    for kind, found in numbered.items():
        expected = roles.created(kind)
        if len(found) != len(expected):
            raise _WrongFileError(
                f"it has {len(expected)} layers of the kind {kind}, not {len(found)}"
            )
        matched |= dict(zip(expected, (name for _, name in sorted(found)), strict=True))
    if missing := [name for name, role in roles.NAMED.items() if role not in matched]:
        raise _WrongFileError(f"layer {missing[0]} is missing")
    return matched


def _member(h5py: Any, group: Any, name: str) -> Any:
    """Return what a group holds under a name, if it lies in this file itself."""
    for part in filter(None, name.split("/")):
        if not isinstance(group, h5py.Group) or part not in group:
            raise _WrongFileError(f"there is nothing called {name!r} in it")
        if not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise _WrongFileError(f"{name!r} in it is a link")
        group = group[part]
    return group


def _texts(group: Any, attribute: str) -> list[str]:
    """Return a list of names; Keras spreads long ones over attributes with numbers."""
    parts = [attribute] if attribute in group.attrs else []
    while not parts or parts[0] != attribute:
        part = f"{attribute}{len(parts)}"
        if part not in group.attrs:
            break
        parts.append(part)
    if not parts:
        raise _WrongFileError(f"the list {attribute!r} is missing")
    values = [value for part in parts for value in np.ravel(group.attrs[part]).tolist()]
    return [v.decode("ascii", "replace") if isinstance(v, bytes) else str(v) for v in values]


def _tensor(h5py: Any, held: Any, weight: str, shape: tuple[int, ...], name: str) -> Tensor:
    """Return a stored array in torch's order of dimensions, its shape looked at before reading."""
    if not isinstance(held, h5py.Dataset) or held.is_virtual or held.external:
        raise _WrongFileError(f"{name} is no array in this file")
    order = TO_TORCH.get(weight, (0,))
    if len(held.shape) != len(order) or tuple(held.shape[i] for i in order) != shape:
        wanted = tuple(shape[order.index(i)] for i in range(len(order)))
        raise _WrongFileError(f"{name} has the shape {tuple(held.shape)} instead of {wanted}")
    if held.dtype.kind != "f":
        raise _WrongFileError(f"{name} holds {held.dtype} values instead of floats")
    values: NDArray[np.float32] = held[()].astype(np.float32)
    if not np.isfinite(values).all():
        raise _WrongFileError(f"{name} holds values that are no numbers")
    return torch.from_numpy(np.ascontiguousarray(values.transpose(order)))
