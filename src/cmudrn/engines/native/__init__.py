"""The project's own compiled engine: C++ in `cpp/`, absent where no compiler was at hand."""

from cmudrn.engines.native.engine import NativeEngine, NativeStream
from cmudrn.engines.native.library import CannotRunNatively, instruction_sets, peak_gflops

__all__ = [
    "CannotRunNatively",
    "NativeEngine",
    "NativeStream",
    "instruction_sets",
    "peak_gflops",
]
