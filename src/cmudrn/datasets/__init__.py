"""Published layouts of paired pictures, their splits, and a doctor."""

from cmudrn.datasets.dataset import Dataset, FileDataset, Pair, PairFiles, RenderedDataset
from cmudrn.datasets.specification import SEED, has_degraded, open_dataset, parse_description

__all__ = [
    "SEED",
    "Dataset",
    "FileDataset",
    "Pair",
    "PairFiles",
    "RenderedDataset",
    "has_degraded",
    "open_dataset",
    "parse_description",
]
