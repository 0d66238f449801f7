"""Whatever starts processes may be killed: none of them goes on without it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

SOURCES = Path(__file__).parent.parent / "src" / "cmudrn"

POOL = """
    import os, time
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context
    from cmudrn.child_processes import end_with_parent

    def work(seconds):
        print(os.getpid(), flush=True)
        time.sleep(seconds)

    if __name__ == "__main__":
        with ProcessPoolExecutor(1, get_context("spawn"), initializer=end_with_parent) as pool:
            pool.submit(work, 300).result()
"""

CONFINED = """
    import time
    from support.tiny_onnx import make_foreign
    from cmudrn.engines.confined import ConfinedSession

    session = ConfinedSession(make_foreign().SerializeToString(), 1)
    print(session._process.pid, flush=True)
    time.sleep(300)
"""


def is_running(process: int) -> bool:
    """Return whether a process does anything; a zombie does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="ascii").split(") ")[1][0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are not files here")
@pytest.mark.parametrize("script", [POOL, CONFINED], ids=["pool", "confined"])
def test_no_process_goes_on_without_its_parent(script: str, tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(script), encoding="utf-8")
    command = [sys.executable, str(path)]
    folders = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": folders}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_running(child)
        parent.kill()
    deadline = time.monotonic() + 60
    try:
        while is_running(child):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        if is_running(child):
            os.kill(child, signal.SIGKILL)


def test_every_pool_ends_with_its_parent() -> None:
    """Calls that start processes are few, and each is one that is tested."""
    starts = {"ProcessPoolExecutor": 0, "Popen": 0, "create_subprocess_exec": 0}
    others = r"\.(?:Process|Pool|fork|forkpty|posix_spawn\w*|create_subprocess_shell)\("
    for path in SOURCES.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(others, text), path
        for name in starts:
            calls = re.findall(rf"\b{name}\(([^)]*)\)", text)
            starts[name] += len(calls)
            if name == "ProcessPoolExecutor":
                assert all("initializer=end_with_parent" in call for call in calls), path
    assert starts == {"ProcessPoolExecutor": 2, "Popen": 1, "create_subprocess_exec": 1}
