"""The engine's lock: whoever takes it again and again keeps nobody waiting."""

from __future__ import annotations

import threading
import time

from tropilla.engine.step_lock import StepLock

STEP_S = 0.01


def start(target: object) -> threading.Thread:
    assert callable(target)
    thread = threading.Thread(target=target)
    thread.start()
    return thread


def test_a_waiting_thread_is_next() -> None:
    """An ordinary lock goes to the thread that has just given it back: it is awake already."""
    lock = StepLock()
    n_steps, steps_before_other = 20, []
    done = []

    def step_on_and_on() -> None:
        for _ in range(n_steps):
            with lock:
                time.sleep(STEP_S)
            done.append(1)

    stepping = start(step_on_and_on)
    time.sleep(STEP_S * 2.5)
    before = len(done)
    with lock:
        steps_before_other.append(len(done) - before)
    stepping.join()
    assert steps_before_other[0] <= 2


def test_waiting_while_held_ends_with_the_release() -> None:
    lock = StepLock()
    with lock:
        waiting = start(lock.wait_while_held)
        waiting.join(STEP_S)
        assert waiting.is_alive()
    waiting.join()


def test_waiting_for_a_free_lock_is_no_wait() -> None:
    assert not StepLock().wait_while_held()


def test_taking_it_only_if_free() -> None:
    lock = StepLock()
    assert lock.acquire_if_free()
    assert not lock.acquire_if_free()
    lock.release()
    assert lock.acquire_if_free()
