"""Make the bytes of a source distribution depend on its content alone.

    SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) python tools/repack_sdist.py dist/x.tar.gz

setuptools writes the time of the build, the user's name and the order of the file system into the
archive. This sorts the members, and replaces times and owners.
"""

from __future__ import annotations

import gzip
import io
import os
import sys
import tarfile
from pathlib import Path


def repack(path: Path, time: int) -> None:
    """Rewrite a .tar.gz in place: members by name, one time, no owner.

    Args:
        path: the archive.
        time: seconds since 1970, of every member and of the archive.
    """
    plain = io.BytesIO()
    with tarfile.open(path) as old, tarfile.open(fileobj=plain, mode="w") as new:
        for member in sorted(old.getmembers(), key=lambda m: m.name):
            content = old.extractfile(member) if member.isfile() else None
            member.mtime, member.uid, member.gid, member.uname, member.gname = time, 0, 0, "", ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.pax_headers = {}
            new.addfile(member, content)
    new_path = path.with_name(path.name + ".new")
    with new_path.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=time) as packed:
        packed.write(plain.getvalue())
    new_path.replace(path)


if __name__ == "__main__":
    repack(Path(sys.argv[1]), int(os.environ["SOURCE_DATE_EPOCH"]))
