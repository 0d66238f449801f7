"""Declare the present code equivalent to the code that made the committed studies.

    python tools/accept_code.py

Run it after a change that must not change results, such as a renamed module. It trains three steps
of some presets and compares them with stored numbers. If they agree, it writes the present
fingerprints into `src/cmudrn/training/equivalent_code.toml`. Do not run it after a change that is
meant to change results; `cmudrn study NAME --again` then repeats the runs.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cmudrn.training.fingerprints import (
    EQUIVALENT,
    SCORING,
    TRAINING,
    fingerprint_code,
    read_equivalent_code,
)

ROOT = Path(__file__).parents[1]
HEAD = """\
# Fingerprints of code that trains and scores alike. `tools/accept_code.py` writes this file, after
# tests/training/test_reference_training.py has shown that today's code gives the same results.
"""


def main() -> int:
    """Return pytest's exit code; the file is written only where it is 0."""
    failed = pytest.main([str(ROOT / "tests/training/test_reference_training.py"), "-q"])
    if failed:
        print("Results have changed: the code is not declared equivalent.", file=sys.stderr)
        return int(failed)
    text = HEAD
    for name, roots in (("training", TRAINING), ("scoring", SCORING)):
        known, today = read_equivalent_code()[name], fingerprint_code(roots)
        earlier = dict.fromkeys([*known["earlier"], known["today"]])
        earlier.pop(today, None)
        lines = "".join(f'    "{one}",\n' for one in earlier)
        text += f'\n[{name}]\ntoday = "{today}"\nearlier = [\n{lines}]\n'
    EQUIVALENT.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
