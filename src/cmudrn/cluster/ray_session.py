"""Ray, started for one job on this machine or reached on a cluster.

On this machine nobody else has anything to do with it: it listens on the loopback address, asks for
a token that is made for the job, and keeps its files in a folder that other users cannot enter and
that goes with the job.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cmudrn.errors import CmudrnError

OBJECT_STORE_BYTES = 80 << 20
"""Ray's shared memory; only names travel through it, never pictures."""

LOOPBACK = "127.0.0.1"

_MAX_FOLDER = 40
"""Longest name of a folder in which Ray can make its sockets, whose names are short on Linux."""

_MAX_END_SECONDS = 20.0
"""How long Ray's processes may go on writing into its folder when they were told to end."""

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_LOCAL = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # which makes it stay on the loopback address
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}
"""What Ray reads from the environment, most of it when it is imported."""


@contextlib.contextmanager
def ray_session(address: str | None, processors: int) -> Iterator[None]:
    """Connect to the cluster, or start Ray on this machine for the length of the job.

    Where the program has connected already, that is used and stays.

    Args:
        address: of a cluster; None is this machine.
        processors: for the workers on this machine.

    Raises:
        CmudrnError: it cannot be started or reached.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_environment(_QUIET if address else _QUIET | _LOCAL))
        import ray  # noqa: PLC0415  (it reads the environment)
        import ray.data  # noqa: PLC0415

        if not ray.is_initialized():
            options: dict[str, Any] = {"address": address}
            if address is None:
                folder = stack.enter_context(_private_folder())
                options = {
                    "address": "local",
                    "num_cpus": processors,
                    "object_store_memory": OBJECT_STORE_BYTES,
                    "include_dashboard": False,
                    "_temp_dir": str(folder / "ray"),
                }
            stack.callback(ray.shutdown)  # before the folder goes
            try:
                with _silent_stderr():  # on which Ray notes that it will be silent
                    ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
            except Exception as error:  # Ray raises the bare class where a machine is too slow
                reason = str(error).splitlines()[0].rstrip(".")
                raise CmudrnError(f"Cannot start or reach the cluster: {reason}.") from error
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        yield


@contextlib.contextmanager
def _private_folder() -> Iterator[Path]:
    """Make a folder for the length of a block; Ray opens what is inside it to everybody."""
    place = tempfile.gettempdir()
    if len(place) > _MAX_FOLDER and sys.platform != "win32":
        place = "/tmp"
    folder = Path(tempfile.mkdtemp(prefix="cmudrn-", dir=place))
    try:
        yield folder
    finally:
        deadline = time.monotonic() + _MAX_END_SECONDS
        shutil.rmtree(folder, ignore_errors=True)
        while folder.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Drop what this process and those it starts write to standard error, libraries included."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextlib.contextmanager
def _environment(wanted: dict[str, str]) -> Iterator[None]:
    """Set variables of the environment for a block, but for those that the user has set."""
    added = [name for name in wanted if name not in os.environ]
    os.environ.update({name: wanted[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
