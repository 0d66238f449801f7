"""Published layouts of paired pictures, their splits, and a doctor."""

from cmudrn.datasets.dataset import Dataset, FileDataset, Pair, PairFiles, RenderedDataset
from cmudrn.datasets.opening import SEED, open_dataset, parse_description

__all__ = [
    "SEED",
    "Dataset",
    "FileDataset",
    "Pair",
    "PairFiles",
    "RenderedDataset",
    "open_dataset",
    "parse_description",
]
