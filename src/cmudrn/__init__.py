"""CMUDRN: removes rain and snow from a single picture, blindly.

restorer = cmudrn.load("cmudrn")
restored = restorer(array)  # (H, W, 3) or (H, W); uint8, uint16 or float32 in [0, 1]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cmudrn.errors import CmudrnError

if TYPE_CHECKING:
    import os

    from cmudrn.restoration.restorer import Restorer

__version__ = "0.1.0"


def load(
    model: str | os.PathLike[str] = "cmudrn",
    *,
    engine: str = "auto",
    threads: int | None = None,
    precision: str = "auto",
    change_gating: bool = True,
) -> Restorer:
    """Return a model that restores arrays.

    Args:
        model: a shipped model's name, or the path of an ONNX file.
        engine: "auto" takes the fastest that can run the model.
        threads: processor threads of a call; None is one for every core this process may use.
        precision: "fp32", "bf16", or "auto": bfloat16 where it is faster and as good.
        change_gating: hold back changes too faint to be weather, where the model asks for it.

    Raises:
        CmudrnError: there is no such model or engine, or the file is damaged.
    """
    from cmudrn.engines import open_engine
    from cmudrn.restoration.restorer import Restorer

    return Restorer(open_engine(model, engine, threads, precision), change_gating=change_gating)


def __getattr__(name: str) -> Any:
    # `import cmudrn` stays fast: NumPy and the rest come with the first use.
    if name == "Restorer":
        from cmudrn.restoration.restorer import Restorer

        return Restorer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["CmudrnError", "Restorer", "__version__", "load"]
