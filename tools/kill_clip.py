"""Restore a long clip through kills at random moments: same bytes, nothing left, bounded disk.

    python tools/kill_clip.py --minutes 10 --size 160x96 --kills 12

A clip with sound is made, restored once without disturbance, and once more with SIGKILL at random
moments, the last of them while the result is put together, until it is finished. The table says
how much of the disk was used at most, beside what the first segment let expect, and how many frames
were restored twice. Fails where bytes differ or anything is left beside the result. Linux only.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from soak_parts import Count, files_of, kill, picture, running

from cmudrn.video.carry import Carried
from cmudrn.video.decode import open_clip, probe
from cmudrn.video.disk import SPARE, CopiedBytes, measure_copied, needed_bytes
from cmudrn.video.encode import SEGMENT_FRAMES

MERGING = 1 << 30
"""Number of segments at which a run is killed while the result is put together."""
POLL_S = 0.02
"""Seconds between two looks at the disk."""


@dataclass
class Run:
    """What one clip took.

    Attributes:
        seconds: from the first start to the end.
        kills: how often it was killed.
        peak: bytes beside the clip at most.
        first: bytes of the first segment.
        merging_kills: kills while the result was put together.
    """

    seconds: float = 0.0
    kills: int = 0
    peak: int = 0
    first: int = 0
    merging_kills: int = 0
    output: list[str] = field(default_factory=list)


def make_clip(path: Path, size: tuple[int, int], frames: int, rate: int) -> None:
    """Write a clip of streaks before pictures that change, with a tone."""
    stills = [picture(seed).resize(size) for seed in range(40)]
    with av.open(str(path), "w") as output:
        video, sound = (
            output.add_stream("libx264", rate=rate),
            output.add_stream("aac", rate=48_000),
        )
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        for number in range(frames):
            still = np.roll(np.asarray(stills[number // 5 % len(stills)]), number, axis=1)
            output.mux(video.encode(av.VideoFrame.from_ndarray(still, format="rgb24")))
        output.mux(video.encode(None))
        for number in range(frames * 48_000 // rate // 1024):
            tone = np.sin(np.arange(1024) * 0.05).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48_000, 1024 * number
            output.mux(sound.encode(frame))
        output.mux(sound.encode(None))


def segments(target: Path) -> list[Path]:
    """Return the finished segments of a result."""
    return sorted(target.parent.glob(f".{target.name}.segments/*.npz"))


def used(folder: Path) -> int:
    """Return the bytes in a folder, of files that may vanish meanwhile."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return total


def restore(clip: Path, target: Path, run: Run, until: int | None, wanted: list[str]) -> bool:
    """Restore until so many segments are there, and kill then; return whether it was finished."""
    arguments = ("restore", str(clip), "-o", str(target), *wanted)
    with running(Count(), *arguments) as process:
        while process.poll() is None:
            made = segments(target)
            run.peak = max(run.peak, used(target.parent))
            if made and not run.first:
                run.first = made[0].stat().st_size
            merging = any(target.parent.glob(f".{target.name}.segments/muxed.*"))
            if until is not None and (merging if until == MERGING else len(made) >= until):
                time.sleep(random.uniform(0, 0.3))
                if target.exists():  # too late: the result is there
                    until = None
                    continue
                run.merging_kills += merging
                kill(process)
                run.kills += 1
                process.wait()
                return False
            time.sleep(POLL_S)
        assert process.stdout is not None
        run.output.append(process.stdout.read())
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, arguments, run.output[-1])
    return True


def work(clip: Path, target: Path, moments: list[int], wanted: list[str]) -> Run:
    """Return what a clip took that was killed at these numbers of segments."""
    run, begin = Run(), time.monotonic()
    target.parent.mkdir()
    for until in [*moments, None]:
        if restore(clip, target, run, until, wanted):
            break
    run.seconds = time.monotonic() - begin
    return run


def measure_sound(clip: Path, seconds: float) -> CopiedBytes:
    """Return the bytes of a clip's tone that are copied beside the first segment."""
    with open_clip(clip) as source:
        carried = Carried(tuple(stream.index for stream in source.streams.audio))
        return measure_copied(source, probe(clip).stream, carried, seconds)


def main() -> int:
    """Return 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--size", default="160x96", help="columns x rows")
    parser.add_argument("--rate", type=int, default=25)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--model", default="cmudrn")
    parser.add_argument("--dehaze", action="store_true", help="also take haze off")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    random.seed(asked.seed)
    width, height = map(int, asked.size.split("x"))
    frames = int(asked.minutes * 60 * asked.rate)
    count = -(-frames // SEGMENT_FRAMES)
    moments: list[int] = sorted(random.randrange(1, count) for _ in range(asked.kills - 1))
    moments.append(MERGING)
    with tempfile.TemporaryDirectory(prefix="cmudrn-kills-") as folder:
        clip = Path(folder) / "clip.mp4"
        make_clip(clip, (width, height), frames, asked.rate)
        targets = [Path(folder) / name / "out.mp4" for name in ("whole", "killed")]
        wanted = ["--model", asked.model, *(["--dehaze"] if asked.dehaze else [])]
        runs = [
            work(clip, target, when, wanted)
            for target, when in zip(targets, ([], moments), strict=True)
        ]
        left = [[n for n in files_of(t.parent) if n != t.name] for t in targets]
        same = targets[0].read_bytes() == targets[1].read_bytes()
        size = targets[0].stat().st_size
        sound = measure_sound(clip, SEGMENT_FRAMES / asked.rate)
    print("| run | seconds | kills | result, MB | disk at most, MB | told beforehand, MB |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, run in zip(("whole", "killed"), runs, strict=True):
        told = SPARE * needed_bytes(run.first, min(frames, SEGMENT_FRAMES), frames, sound)
        cells = [size, run.peak, told]
        row = " | ".join(f"{value / 1e6:.1f}" for value in cells)
        print(f"| {name} | {run.seconds:.0f} | {run.kills} | {row} |")
    print(f"{frames} frames, same bytes: {same}, left behind: {left}")
    print(f"kills while the result was put together: {runs[1].merging_kills}")
    return int(not same or any(left))


if __name__ == "__main__":
    sys.exit(main())
