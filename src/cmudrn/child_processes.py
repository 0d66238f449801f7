"""Processes that end with the one that started them."""

from __future__ import annotations

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """End this process as soon as the one that started it has ended, however that ended.

    It is for processes of `multiprocessing`; in others it does nothing.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os._exit(1)  # in the middle of the work, too: nobody waits for it

    threading.Thread(target=wait, daemon=True).start()
