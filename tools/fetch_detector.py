"""Write the detector of people and vehicles that `cmudrn evaluate --downstream` takes.

    python tools/fetch_detector.py OUT.tflite

The file is SSD with MobileNetV2, trained on Open Images V4. It is part of the npm package
`@mediapipe/objectron` (Google, Apache-2.0), which `npm pack` fetches. Its licence allows passing it
on; it is fetched all the same, so that a checkout stays small. Nothing of the package is executed.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from cmudrn.errors import CmudrnError
from cmudrn.evaluation.object_detector import SHA256
from cmudrn.files import atomic_file, check_target

PACKAGE = "@mediapipe/objectron@0.4.1675468480"
PACKAGE_SHA256 = "fc3e37b326b05e8f596099c90b3e0931b05a56cd3160b9ac450b621794bac94c"
MEMBER = "package/objectron_solution_packed_assets.data"
START = 184
"""First byte of the detector in the member; the names of its classes stand before it."""


def fetch_package(folder: Path) -> Path:
    """Return the package's archive, fetched into a folder.

    Raises:
        CmudrnError: npm is not installed, or cannot fetch it.
    """
    npm = shutil.which("npm")
    if not npm:
        raise CmudrnError(f"Fetching {PACKAGE} needs npm, which is not installed.")
    command = [npm, "pack", PACKAGE, "--ignore-scripts", "--fetch-retries=0", "--loglevel=error"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    archives = sorted(folder.glob("*.tgz"))
    if done.returncode or len(archives) != 1:
        said = " ".join(done.stderr.split())[:200] or "no reason given"
        raise CmudrnError(f"npm cannot fetch {PACKAGE}; is there a connection? It says: {said}")
    return archives[0]


def read_detector(archive: Path, package_sha256: str = PACKAGE_SHA256) -> bytes:
    """Return the detector's bytes out of the package.

    Raises:
        CmudrnError: package or detector are other ones.
    """
    if hashlib.sha256(archive.read_bytes()).hexdigest() != package_sha256:
        raise CmudrnError(f"{archive.name} is not the {PACKAGE} that is known here.")
    with tarfile.open(archive) as package:
        member = package.extractfile(MEMBER)
        data = member.read()[START:] if member else b""
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise CmudrnError(f"{archive.name} holds another detector than the one that is known.")
    return data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path, help="the file to write; one that exists is kept")
    out = parser.parse_args().out
    try:
        check_target(None, out, overwrite=False)
        with tempfile.TemporaryDirectory() as folder:
            data = read_detector(fetch_package(Path(folder)))
        with atomic_file(out) as file:
            file.write(data)
    except CmudrnError as error:
        raise SystemExit(str(error)) from error
    print(f"{out}: {len(data)} bytes")


if __name__ == "__main__":
    main()
