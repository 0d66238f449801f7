"""Restore clips of every container and codec at strength 0, and tell what came out otherwise.

    python tools/clip_matrix.py                      # all
    python tools/clip_matrix.py --containers mp4,mov

The clips are made by `ffmpeg` and compared by `ffprobe`, and by `mediainfo` where it is installed:
number, times and rate of frames, duration, size, bits, chroma, range and colours, title and sound.
A cell is the codec of the result, with the number of notes; "refused" where no codec fits, before
any work; "-" where FFmpeg does not write such a clip; and "!" where something differs that no note
tells of, which is printed below the table. Fails where there is such a cell.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from support import clip_matrix, tiny_onnx

import cmudrn
from cmudrn.errors import CmudrnError, TargetError
from cmudrn.restoration import Restorer, RestoreSettings
from cmudrn.video import ClipSettings, restore_clip


def run(restorer: Restorer, folder: Path, container: str, kind: str) -> tuple[str, list[str]]:
    """Return the cell of the table, and what differs."""
    source = folder / f"{kind.replace(' ', '-').replace(':', '')}.{container}"
    if not clip_matrix.make(source, kind):
        return "-", []
    target = clip_matrix.target_of(source)
    try:
        done = restore_clip(restorer, source, target, ClipSettings(RestoreSettings(strength=0)))
    except TargetError:  # none of our codecs fits the container
        return "refused", []
    except CmudrnError as error:
        return "!", [str(error)]
    found = clip_matrix.differences(source, target, done.notes)
    codec = clip_matrix.look(target).get("codec", "")
    told = f" ({len(done.notes)})" if done.notes else ""
    return f"{codec}{told}{' !' if found else ''}", found


def main() -> int:
    """Return 1 where something differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--containers", default=",".join(clip_matrix.CONTAINERS))
    parser.add_argument("--codecs", default=",".join(clip_matrix.KINDS))
    asked = parser.parse_args()
    containers, wrong = asked.containers.split(","), []
    print(f"| codec | {' | '.join(containers)} |")
    print("|---" * (len(containers) + 1) + "|")
    with tempfile.TemporaryDirectory(prefix="cmudrn-matrix-") as name:
        folder = Path(name)
        network = tiny_onnx.make_cmudrn(tiny_onnx.make_identity_weights())
        model = tiny_onnx.save(network, folder / "identity.onnx")
        restorer = cmudrn.load(Path(model), threads=1)
        for kind in asked.codecs.split(","):
            cells = []
            for container in containers:
                cell, found = run(restorer, folder, container, kind)
                cells.append(cell)
                wrong += [f"{kind} in {container}: {one}" for one in found]
            print(f"| {kind} | {' | '.join(cells)} |", flush=True)
    print(*wrong, sep="\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
