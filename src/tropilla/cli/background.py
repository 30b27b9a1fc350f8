"""Run slow work beside the main thread, so that Ctrl-C is heard while native code runs."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

_NAME = "tropilla-background"
_TICK_S = 0.1  # also how long Windows may take to notice Ctrl-C: a wait without limit would not


class Background(Generic[T]):
    """Take items from an iterator in another thread; iterate here, with None for every idle tick.

    `stop()` closes the iterator at its next item. Errors of the iterator are raised here.
    """

    def __init__(self, source: Iterator[T]) -> None:
        self._items: queue.SimpleQueue[tuple[T] | BaseException | None] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(source,), name=_NAME, daemon=True)
        self._thread.start()

    def __iter__(self) -> Generator[T | None, None, None]:
        while True:
            try:
                item = self._items.get(timeout=_TICK_S)
            except queue.Empty:
                yield None
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item[0]

    def stop(self) -> list[T]:
        """Ask the work to end, wait for it, and return the items not iterated yet.

        A second Ctrl-C ends the wait.
        """
        self._stopped.set()
        while self._thread.is_alive():
            self._thread.join(_TICK_S)
        return [item for item in self if item is not None]

    def _work(self, source: Iterator[T]) -> None:
        try:
            for item in source:
                self._items.put((item,))
                if self._stopped.is_set():
                    break
            getattr(source, "close", lambda: None)()  # a generator's finally must not wait for the collector
            self._items.put(None)
        except BaseException as error:  # handed over: the main thread raises it
            self._items.put(error)


def any_is_running() -> bool:
    """Return whether background work is still under way, so that the interpreter cannot end in peace.

    A thread that comes back from native code into a dying interpreter may take the process down
    with an error message.
    """
    return any(thread.name == _NAME for thread in threading.enumerate())


def call_in_background(work: Callable[[], T], on_tick: Callable[[], None]) -> T:
    """Return work() done in another thread, calling on_tick here about ten times a second meanwhile."""

    def once() -> Generator[tuple[T], None, None]:
        yield (work(),)

    for result in Background(once()):
        if result is not None:
            return result[0]
        on_tick()
    raise AssertionError("the work ended without a result or an error")
