"""The compiled library: finding it, declaring its functions, choosing an instruction set."""

from __future__ import annotations

import ctypes
import functools
import os
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from cmudrn.engines.base import available_cores
from cmudrn.errors import CmudrnError, InvalidSettingError

INSTRUCTION_SETS = ("avx512", "avx2", "neon", "portable")
"""Best first."""

BF16_SETS = ("amxbf16", "avx512bf16", "neonbf16")
"""Those that multiply bfloat16 numbers, and add in float32."""

NO_NATIVE = "CMUDRN_NO_NATIVE"
"""Environment variable: "1" does without the compiled engine."""

FORCED_ISA = "CMUDRN_NATIVE_ISA"
"""Environment variable: the instruction set to use instead of the best."""

_SIGNATURES: dict[str, tuple[type | None, list[type]]] = {
    "cmudrn_has": (ctypes.c_int, [ctypes.c_char_p]),
    "cmudrn_bf16_is_faster": (ctypes.c_int, [ctypes.c_int]),
    "cmudrn_network_new": (
        ctypes.c_void_p,
        [ctypes.c_char_p, *[ctypes.c_int] * 4, ctypes.c_void_p, ctypes.c_long],
    ),
    "cmudrn_network_free": (None, [ctypes.c_void_p]),
    "cmudrn_stream_new": (ctypes.c_void_p, [ctypes.c_void_p, *[ctypes.c_int] * 5]),
    "cmudrn_stream_push": (
        ctypes.c_int,
        [
            *[ctypes.c_void_p] * 2,
            ctypes.c_long,
            ctypes.c_int,
            *[ctypes.c_void_p] * 2,
            ctypes.c_long,
        ],
    ),
    "cmudrn_stream_free": (None, [ctypes.c_void_p]),
    "cmudrn_program_new": (
        ctypes.c_void_p,
        [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_long, ctypes.c_void_p, ctypes.c_long],
    ),
    "cmudrn_program_free": (None, [ctypes.c_void_p]),
    "cmudrn_executor_new": (
        ctypes.c_void_p,
        [ctypes.c_void_p, *[ctypes.c_int] * 3, ctypes.POINTER(ctypes.c_int)],
    ),
    "cmudrn_row_executor_new": (
        ctypes.c_void_p,
        [ctypes.c_void_p, *[ctypes.c_int] * 4, ctypes.POINTER(ctypes.c_int)],
    ),
    "cmudrn_executor_push": (
        ctypes.c_int,
        [
            *[ctypes.c_void_p] * 2,
            ctypes.c_long,
            ctypes.c_int,
            ctypes.c_void_p,
            ctypes.c_long,
        ],
    ),
    "cmudrn_executor_run": (ctypes.c_int, [ctypes.c_void_p] * 3),
    "cmudrn_executor_free": (None, [ctypes.c_void_p]),
    "cmudrn_convolve_batch": (
        ctypes.c_int,
        [ctypes.c_char_p, *[ctypes.c_void_p] * 6, ctypes.c_int],
    ),
    "cmudrn_differentiate_batch": (
        ctypes.c_int,
        [ctypes.c_char_p, *[ctypes.c_void_p] * 7, ctypes.c_int],
    ),
    "cmudrn_mix_batch": (
        ctypes.c_int,
        [ctypes.c_char_p, *[ctypes.c_void_p] * 7, ctypes.c_int],
    ),
    "cmudrn_peak_gflops": (ctypes.c_double, [ctypes.c_char_p, ctypes.c_int, ctypes.c_long]),
}


class NativeUnavailableError(CmudrnError):
    """This machine has no compiled engine, or this network is none that it runs."""


def load_library() -> ctypes.CDLL:
    """Return the compiled library with its functions declared.

    Raises:
        NativeUnavailableError: it was not built, does not load, or is switched off.
    """
    if os.environ.get(NO_NATIVE, "") not in ("", "0"):
        raise NativeUnavailableError(f"The native engine is switched off by {NO_NATIVE}.")
    return _load()


@functools.cache
def _load() -> ctypes.CDLL:
    folder = Path(__file__).parent
    built = [folder / f"_native{suffix}" for suffix in EXTENSION_SUFFIXES]
    path = next((path for path in built if path.is_file()), None)
    if path is None:
        raise NativeUnavailableError(
            "The native engine was not built here: it needs a C++20 compiler."
        )
    return open_library(path)


def open_library(path: Path) -> ctypes.CDLL:
    """Return a compiled library with its functions declared.

    Raises:
        NativeUnavailableError: it does not load, or is another one.
    """
    try:
        library = ctypes.CDLL(str(path))
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise NativeUnavailableError(f"The native engine does not load: {error}.") from error
    return library


def instruction_sets(precision: str = "fp32") -> tuple[str, ...]:
    """Return the instruction sets that library and processor have, best first; () without one.

    Args:
        precision: "fp32" or "bf16", what they multiply in.
    """
    try:
        library = load_library()
    except NativeUnavailableError:
        return ()
    every = BF16_SETS if precision == "bf16" else INSTRUCTION_SETS
    return tuple(name for name in every if library.cmudrn_has(name.encode()))


def choose_instruction_set(precision: str = "fp32") -> str:
    """Return the instruction set to use: the best here, or the one that is forced.

    Raises:
        NativeUnavailableError: this processor does not multiply in that precision.
        InvalidSettingError: the forced one does not exist, or not on this processor.
    """
    load_library()  # or its error
    here = instruction_sets(precision)
    forced = os.environ.get(FORCED_ISA, "")
    if precision == "bf16":
        if not here or forced not in ("", *here):
            raise NativeUnavailableError("The native engine has no bfloat16 on this processor.")
        return forced or here[0]
    if forced and forced not in here:
        raise InvalidSettingError(
            f"{FORCED_ISA} asks for {forced!r}; this machine has {', '.join(here) or 'none'}."
        )
    return forced or here[0]


def peak_gflops(
    rounds: int = 1_000_000, threads: int | None = None, precision: str = "fp32", tries: int = 5
) -> float:
    """Return what multiply-adds in registers alone reach: GFLOP/s, two to a multiply-add.

    Args:
        rounds: how often each thread runs through its twelve chains of multiply-adds.
        threads: how many at once; None is one for every core this process may use.
        precision: "fp32" or "bf16".
        tries: of which the best counts. Times are those that the threads computed, so programs
            beside this one hardly matter.

    Raises:
        NativeUnavailableError: there is no compiled engine here, or no such precision.
    """
    library, name = load_library(), choose_instruction_set(precision).encode()
    count = threads or available_cores()
    return max(float(library.cmudrn_peak_gflops(name, count, rounds)) for _ in range(tries))


def bf16_is_faster(*, wide: bool) -> bool:
    """Return whether this processor runs networks faster in bfloat16 than in float32.

    Some do not, and float32 is exact. The answer depends on the processor's features alone: a clip
    that is resumed has to get the same engine.

    Args:
        wide: whether its convolutions have more channels than the paper's.
    """
    try:
        return bool(load_library().cmudrn_bf16_is_faster(wide))
    except NativeUnavailableError:
        return False
