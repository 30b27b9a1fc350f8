"""The lock around a step: taken in turn, and watched by those who wait for what the step brings."""

from __future__ import annotations

import threading
from types import TracebackType


class StepLock:
    """A lock that the thread which holds it most cannot keep from the others.

    Python's own goes to whoever asks first once it is free, and that is the thread which has just
    given it back: the one that computes step after step.
    """

    def __init__(self) -> None:
        self._held = threading.Lock()
        self._next = threading.Lock()  # of the thread that waits for _held
        self._released = threading.Condition()

    def __enter__(self) -> None:
        with self._next:
            self._held.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def acquire_if_free(self) -> bool:
        """Take the lock if nobody has it or waits for it; return whether it was taken."""
        if not self._next.acquire(blocking=False):
            return False
        try:
            return self._held.acquire(blocking=False)
        finally:
            self._next.release()

    def release(self) -> None:
        """Give the lock back and wake who waits for that."""
        self._held.release()
        with self._released:
            self._released.notify_all()

    def wait_while_held(self) -> bool:
        """Wait until the lock is next given back, if anyone holds it; return whether anyone did."""
        with self._released:
            return self._held.locked() and self._released.wait()
