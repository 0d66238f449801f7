"""3x3 convolutions and cross-stitch units in training, by the native engine's kernels.

PyTorch multiplies convolutions directly on processors. Winograd's transforms need a quarter of the
multiplications, forwards and backwards, in float32: results differ by rounding only.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmudrn.engines.native.library import (
    NativeUnavailableError,
    choose_instruction_set,
    load_library,
)

MIN_CHANNELS = 8
"""Of a group's inputs and outputs: fewer gain nothing."""

_instruction_set: ContextVar[str | None] = ContextVar("_instruction_set", default=None)


@contextmanager
def winograd_convolutions(*, wanted: bool = True) -> Iterator[bool]:
    """Have `convolve` and `stitch` use the native engine within; yield whether they do.

    Args:
        wanted: whether to do so where the engine was built.
    """
    name = None
    if wanted:
        try:
            name = choose_instruction_set()
        except NativeUnavailableError:
            name = None
    token = _instruction_set.set(name)
    try:
        yield name is not None
    finally:
        _instruction_set.reset(token)


def uses_engine() -> bool:
    """Return whether the native engine is used here."""
    return _instruction_set.get() is not None


def convolve(
    maps: Tensor, weight: Tensor, bias: Tensor, stride: int = 1, padding: int = 0, groups: int = 1
) -> Tensor:
    """Return `torch.nn.functional.conv2d` of the same arguments.

    Args:
        maps: (B, C, H, W).
        weight: (outputs, C / groups, kernel, kernel).
        bias: (outputs).
        stride: 1 or more.
        padding: zeros on each side.
        groups: parts of the channels that are convolved apart.
    """
    name = _instruction_set.get()
    if name is None or stride != 1 or padding != 1 or not _suits(maps, weight, groups):
        return F.conv2d(maps, weight, bias, stride, padding, groups=groups)
    made: Tensor = _Convolution.apply(maps, weight, bias, groups, name)  # type: ignore[no-untyped-call]
    return made


def stitch(maps: Tensor, matrix: Tensor) -> Tensor | None:
    """Return the maps of two branches after `cross_stitch.mix`, or None: it has to do it itself.

    Args:
        maps: (B, 2 C, H, W).
        matrix: (2, 2, C).
    """
    name = _instruction_set.get()
    if name is None or len(matrix) != 2 or not _computes(maps, matrix):
        return None
    made: Tensor = _Stitch.apply(maps, matrix, name)  # type: ignore[no-untyped-call]
    return made


class Conv2d(nn.Conv2d):
    """A convolution with a bias and zeros around, by `convolve`."""

    def _conv_forward(
        self,
        input: Tensor,  # noqa: A002
        weight: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        assert bias is not None
        return convolve(input, weight, bias, self.stride[0], int(self.padding[0]), self.groups)


def _suits(maps: Tensor, weight: Tensor, groups: int) -> bool:
    outputs, inputs = weight.shape[0] // groups, weight.shape[1]
    wide = min(inputs, outputs) >= MIN_CHANNELS
    return wide and tuple(weight.shape[2:]) == (3, 3) and _computes(maps, weight)


def _computes(maps: Tensor, weights: Tensor) -> bool:
    return (
        maps.device.type == "cpu"
        and maps.dtype == weights.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and maps.numel() > 0
    )


class _Convolution(torch.autograd.Function):
    """A 3x3 convolution of stride 1 with zeros around, and its gradients."""

    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, groups: int, name: str
    ) -> Tensor:
        maps = maps.contiguous(memory_format=torch.channels_last)
        ctx.save_for_backward(maps, weight)
        ctx.groups, ctx.name = groups, name
        taps = _by_group(weight, groups).permute(0, 3, 4, 2, 1).contiguous()
        made = _empty(maps, weight.shape[0])
        _call("convolve_batch", name, _shape(maps, weight, groups), (maps, taps, bias, made))
        return made

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        maps, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        by_group = _by_group(weight, ctx.groups)
        of_maps = turned = None
        if ctx.needs_input_grad[0]:
            of_maps = torch.empty_like(maps)
            turned = by_group.flip(3, 4).permute(0, 3, 4, 1, 2).contiguous()
        taps = torch.empty((ctx.groups, 3, 3, weight.shape[1], by_group.shape[1]))
        shape = _shape(maps, weight, ctx.groups)
        tensors = (maps, gradient, turned, of_maps, taps)
        _call("differentiate_batch", ctx.name, shape, tensors)
        of_weight = taps.permute(0, 4, 3, 1, 2).reshape(weight.shape)
        return of_maps, of_weight, gradient.sum((0, 2, 3)), None, None


class _Stitch(torch.autograd.Function):
    """A cross-stitch unit of two branches, and its gradients."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, matrix: Tensor, name: str) -> Tensor:
        maps, matrix = maps.contiguous(memory_format=torch.channels_last), matrix.contiguous()
        ctx.save_for_backward(maps, matrix)
        ctx.name = name
        made = torch.empty_like(maps)
        _call("mix_batch", name, _pixels(maps), (maps, matrix, made, None, None))
        return made

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        maps, matrix = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_maps, of_matrix = torch.empty_like(maps), torch.empty_like(matrix)
        tensors = (maps, matrix, of_maps, gradient, of_matrix)
        _call("mix_batch", ctx.name, _pixels(maps), tensors)
        return of_maps, of_matrix, None


def _by_group(weight: Tensor, groups: int) -> Tensor:
    """Return (outputs, inputs, 3, 3) weights as (groups, outputs, inputs, 3, 3)."""
    return weight.reshape(groups, -1, *weight.shape[1:])


def _empty(maps: Tensor, channels: int) -> Tensor:
    size = (len(maps), channels, *maps.shape[2:])
    return torch.empty(size, memory_format=torch.channels_last)


def _shape(maps: Tensor, weight: Tensor, groups: int) -> tuple[int, ...]:
    count, inputs, height, width = maps.shape
    return count, height, width, inputs, weight.shape[0], groups


def _pixels(maps: Tensor) -> tuple[int, ...]:
    count, channels, height, width = maps.shape
    return count, height * width, channels // 2


def _call(
    function: str, name: str, shape: tuple[int, ...], tensors: tuple[Tensor | None, ...]
) -> None:
    pointers = [None if tensor is None else tensor.data_ptr() for tensor in tensors]
    failed = getattr(load_library(), f"cmudrn_{function}")(
        name.encode(),
        (ctypes.c_int * len(shape))(*shape),
        *pointers,
        _run_on_threads(),
        torch.get_num_threads(),
    )
    if failed:
        raise MemoryError("There is not enough memory for a step of the training.")


@functools.cache
def _run_on_threads() -> int | None:
    """Return the address of the function by which PyTorch's OpenMP runs its threads, or None.

    Those threads wait in a loop between two operations: others beside them would get half a core.
    """
    try:
        function = ctypes.CDLL(None).GOMP_parallel
    except (AttributeError, OSError, TypeError):  # another OpenMP, or a system without it
        return None
    return ctypes.cast(function, ctypes.c_void_p).value
