"""Items made by a thread before they are asked for."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")
_END = object()


def prefetch(items: Iterable[T], waiting: int = 4) -> Generator[T]:
    """Yield items that a thread makes, at most `waiting` of them before they are asked for.

    What the thread raises is raised here. The thread ends when this iterator is closed.
    """
    queue: Queue[object] = Queue(waiting)
    failed: list[BaseException] = []
    stopped = Event()

    def work() -> None:
        try:
            for item in items:
                if not _put(queue, item, stopped):
                    break
        except BaseException as error:
            failed.append(error)
        _put(queue, _END, stopped)

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        while (item := _get(queue, thread)) is not _END:
            yield item  # type: ignore[misc]
    finally:
        stopped.set()
        thread.join()
    if failed:
        raise failed[0]


def _put(queue: Queue[object], item: object, stopped: Event) -> bool:
    while not stopped.is_set():
        try:
            queue.put(item, timeout=0.1)
            return True
        except Full:
            continue
    return False


def _get(queue: Queue[object], thread: Thread) -> object:
    while True:  # in short waits, so that Ctrl-C is heard on every system
        try:
            return queue.get(timeout=0.5)
        except Empty:
            if not thread.is_alive() and queue.empty():
                return _END
