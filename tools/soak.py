"""Run server, batch, video, watched folder and full disk for a set time, with faults, and count.

    python tools/soak.py --minutes 60          # 1440 for a day
    python tools/soak.py --minutes 3 --only server --only video

Every part works on its own in a temporary folder and on 127.0.0.1, again and again until time is
up: good and damaged inputs, slow clients, processes killed with SIGKILL at random moments and
started again. A cycle is wrong if a result differs from the one that an undisturbed run gave, if a
damaged input is not refused, or if something is left behind. Prints one table and fails if a cycle
was wrong. Linux only. The full disk is a small tmpfs, which needs root; without it that part is
left out and said so.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import soak_parts
from soak_parts import BatchPart, Count, DiskPart, ServerPart, VideoPart, WatchPart

PARTS: dict[str, Callable[[Path, random.Random], object]] = {
    "server": ServerPart,
    "batch": BatchPart,
    "video": VideoPart,
    "watch": WatchPart,
    "full disk": DiskPart,
}


def run_part(part: object, count: Count, until: float) -> None:
    """Repeat a part's cycle until the time is up."""
    try:
        while time.monotonic() < until:
            try:
                part.cycle(count)  # type: ignore[attr-defined]
            except Exception as error:  # counted, and shown at the end
                count.wrong.append(f"cycle {count.cycles}: {type(error).__name__}: {error}")
            count.cycles += 1
    finally:
        if isinstance(part, ServerPart):
            part.server.close()


def table(counts: dict[str, Count]) -> str:
    """Return the counts as a Markdown table."""
    lines = [
        "| part | cycles | good | refused as they must be | kills | wrong | greatest memory |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {c.cycles:,} | {c.good:,} | {c.refused:,} | {c.kills:,} | {len(c.wrong)} | "
        f"{c.peak_mb:,.0f} MB |"
        for name, c in counts.items()
    ]
    return "\n".join(lines)


def main() -> int:
    """Return 1 where a cycle was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--only", action="append", choices=PARTS, help="repeatable")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--patience", type=float, default=soak_parts.WAIT, help="seconds, see there"
    )
    asked = parser.parse_args()
    soak_parts.WAIT = asked.patience
    names = asked.only or list(PARTS)
    if "full disk" in names and os.geteuid() != 0:
        print("full disk: left out, mounting a small disk needs root", file=sys.stderr)
        names.remove("full disk")
    with tempfile.TemporaryDirectory(prefix="cmudrn-soak-") as folder:
        rngs = {name: random.Random(f"{asked.seed} {name}") for name in names}
        parts = {name: PARTS[name](Path(folder) / name, rngs[name]) for name in names}
        counts = {name: Count() for name in names}
        until = time.monotonic() + 60 * asked.minutes
        threads = [
            threading.Thread(target=run_part, args=(parts[name], counts[name], until))
            for name in names
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print(table(counts))
    for name, count in counts.items():
        for what in count.wrong[:20]:
            print(f"{name}: {what}", file=sys.stderr)
    return int(any(count.wrong for count in counts.values()))


if __name__ == "__main__":
    sys.exit(main())
