"""Work in a thread: its result or its error comes to who asks."""

from __future__ import annotations

import threading

import pytest

from tropilla.api.in_thread import InThread


def test_the_result_comes_from_another_thread() -> None:
    assert InThread(threading.current_thread).result() is not threading.current_thread()


def test_the_caller_goes_on_meanwhile() -> None:
    done = threading.Event()
    work = InThread(done.wait)  # ends only because the caller does not wait for it
    done.set()
    assert work.result() is True


def test_its_error_is_raised_where_the_result_is_wanted() -> None:
    def fail() -> None:
        raise ValueError("broken")

    work = InThread(fail)
    with pytest.raises(ValueError, match="broken"):
        work.result()
