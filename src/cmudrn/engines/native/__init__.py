"""The project's own compiled engine: C++ in `cpp/`, absent where no compiler was at hand."""

from cmudrn.engines.native.engine import NativeEngine, NativeStream
from cmudrn.engines.native.library import CannotRunNatively, instruction_sets, peak_gflops
from cmudrn.engines.native.precision_check import PROMISED_DB, keeps_promise

__all__ = [
    "PROMISED_DB",
    "CannotRunNatively",
    "NativeEngine",
    "NativeStream",
    "instruction_sets",
    "keeps_promise",
    "peak_gflops",
]
