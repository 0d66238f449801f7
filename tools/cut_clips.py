"""Restore clips of every container whose ends are cut off, and print what is told of each.

    python tools/cut_clips.py

Each clip of 100 frames with sound is made by FFmpeg's program, cut at some shares of its bytes, and
restored at strength 0. A cell is the number of frames of the result; with "?" where no note says
that anything is missing; "-" where nothing can be decoded, which a sentence says. Fails where a
result has fewer frames than ffprobe decodes, or other frames than were counted, or where a cut
file gives neither a note nor all frames.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from support import cut_clips, tiny_onnx

import cmudrn
from cmudrn.restoration import Restorer, RestoreSettings
from cmudrn.video import ClipSettings, VideoFileError, restore_clip

SHARES = (100, 99, 97, 90, 75, 50, 20)
"""Of the bytes, percent."""


def run(restorer: Restorer, source: Path) -> tuple[str, list[str]]:
    """Return the cell of the table, and what is wrong."""
    expected = cut_clips.count_frames(source)
    target = source.with_name("restored.mkv")
    settings = ClipSettings(RestoreSettings(strength=0), overwrite=True)
    try:
        done = restore_clip(restorer, source, target, settings)
    except VideoFileError as error:
        return "-", [str(error)] if expected else []
    wrong = list[str]()
    if done.frames < expected:
        wrong.append(f"{done.frames} frames instead of {expected}")
    if cut_clips.count_frames(target) != done.frames:
        wrong.append(f"the result has {cut_clips.count_frames(target)} frames, not {done.frames}")
    told = any("could be decoded" in note or "damaged" in note for note in done.notes)
    return f"{done.frames}{'' if told else ' ?'}", wrong


def main() -> int:
    """Return 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kinds", default="; ".join(cut_clips.KINDS))
    asked, wrong = parser.parse_args(), list[str]()
    print(f"| clip | {' | '.join(f'{share} %' for share in SHARES)} |")
    print("|---" + "|---:" * len(SHARES) + "|")
    with tempfile.TemporaryDirectory(prefix="cmudrn-cuts-") as name:
        folder = Path(name)
        network = tiny_onnx.make_cmudrn(tiny_onnx.make_identity_weights())
        restorer = cmudrn.load(Path(tiny_onnx.save(network, folder / "identity.onnx")), threads=1)
        for kind in asked.kinds.split("; "):
            path = cut_clips.make(folder, kind)
            if path is None:
                continue
            whole, cells = path.read_bytes(), list[str]()
            for share in SHARES:
                path.write_bytes(whole[: len(whole) * share // 100])
                cell, found = run(restorer, path)
                if share == 100 and not cell.endswith("?"):
                    found.append("a whole clip is said to lack something")
                cells.append(cell.removesuffix(" ?") if share == 100 else cell)
                wrong += [f"{kind} at {share} %: {one}" for one in found]
            print(f"| {kind} | {' | '.join(cells)} |", flush=True)
    print(*wrong, sep="\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
