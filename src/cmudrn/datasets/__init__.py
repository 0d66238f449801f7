"""Published layouts of paired pictures, their splits, and a doctor."""

from __future__ import annotations

from cmudrn.datasets.dataset import Dataset, Pair
from cmudrn.errors import CmudrnError

__all__ = ["Dataset", "Pair", "open_dataset"]


def open_dataset(name: str) -> Dataset:
    """Return a dataset by its description.

    Raises:
        CmudrnError: there is none of that description.
    """
    raise CmudrnError(f"There is no dataset {name!r}.")
