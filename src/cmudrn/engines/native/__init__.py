"""The project's own compiled engine: C++ in `cpp/`, absent where no compiler was at hand."""

from cmudrn.engines.native.engine import PAPERS_NETWORKS, NativeEngine
from cmudrn.engines.native.library import (
    BF16_SETS,
    FORCED_ISA,
    NativeUnavailableError,
    bf16_is_faster,
    instruction_sets,
    peak_gflops,
)
from cmudrn.engines.native.precision_check import MIN_PSNR_DB, passes_precision_check

__all__ = [
    "BF16_SETS",
    "FORCED_ISA",
    "MIN_PSNR_DB",
    "PAPERS_NETWORKS",
    "NativeEngine",
    "NativeUnavailableError",
    "bf16_is_faster",
    "instruction_sets",
    "passes_precision_check",
    "peak_gflops",
]
