"""A job on this machine is nobody else's business."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="the cluster extra is not installed")

SESSION = """
    import json, os, sys, tempfile
    from pathlib import Path
    from cmudrn.cluster.ray_session import ray_session

    def descendants(process):
        found = [process]
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += descendants(int(child))
        return found

    def sockets(process):
        try:
            links = [os.readlink(path) for path in Path(f"/proc/{process}/fd").iterdir()]
        except OSError:
            return set()
        return {link[8:-1] for link in links if link.startswith("socket:[")}

    def listening():
        for kind in ("tcp", "tcp6"):
            for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A":
                    yield fields[9], fields[1].partition(":")[0]

    with ray_session(None, 1):
        import ray
        ray.get(ray.remote(lambda: 1).remote())
        mine = set().union(*map(sockets, descendants(os.getpid())))
        (folder,) = Path(tempfile.gettempdir()).glob("cmudrn-*")
        told = {
            "addresses": [address for inode, address in listening() if inode in mine],
            "mode": os.stat(folder).st_mode,
            "token": os.environ["RAY_AUTH_TOKEN"],
        }
    told["left"] = os.listdir(tempfile.gettempdir())
    told["environment"] = [name for name in os.environ if name.startswith("RAY_")]
    print(json.dumps(told))
"""


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="this system has no /proc/net/tcp")
def test_ray_on_this_machine_is_private_and_leaves_nothing() -> None:
    folder = Path(f"/tmp/e{os.getpid()}")  # short enough for the sockets
    folder.mkdir(mode=0o700)
    environment = {name: text for name, text in os.environ.items() if not name.startswith("RAY_")}
    try:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(SESSION)],
            env=environment | {"TMPDIR": str(folder)},
            capture_output=True,
            timeout=240,
            check=False,
        )
    finally:
        shutil.rmtree(folder)
    assert (done.returncode, done.stderr) == (0, b"")
    told = json.loads(done.stdout)
    loopback = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    assert told["addresses"]
    assert set(told["addresses"]) <= loopback
    assert stat.S_IMODE(told["mode"]) == 0o700
    assert len(told["token"]) == 64
    assert [name for name in told["left"] if name != ".ses"] == []
    assert not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN"} & set(told["environment"])
