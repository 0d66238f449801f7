"""Make valid image files, write each again unchanged, and print what is not the same.

    python tools/check_valid_files.py --count 2000

Pixels are compared with those that Pillow and tifffile read, metadata with what exiftool tells of
both files. A difference that a note names is none.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from support.valid_files import check_files  # noqa: E402

BATCH = 200


def main() -> None:
    """Print the number of files and every difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    arguments = parser.parse_args()
    kinds: Counter[str] = Counter()
    wrong = 0
    for start in range(arguments.first, arguments.first + arguments.count, BATCH):
        numbers = range(start, min(start + BATCH, arguments.first + arguments.count))
        with tempfile.TemporaryDirectory() as folder:
            for name, found in check_files(numbers, Path(folder)).items():
                kinds[Path(name).suffix] += 1
                wrong += bool(found)
                for line in found:
                    print(name, line)
    files = ", ".join(f"{count} {suffix}" for suffix, count in sorted(kinds.items()))
    print(f"{sum(kinds.values())} files ({files}); {wrong} with a difference that no note names")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
