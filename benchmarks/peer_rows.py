"""What is compared: each row a workload on one file, with the goal that it is held against."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch

from tropilla.errors import OptionError


@dataclass(frozen=True, slots=True)
class Metric:
    """One number of a row; goal: how many times better than llama.cpp it is to be, at_most: its own limit."""

    unit: str
    higher_is_better: bool = True
    goal: float | None = None
    name: str = ""
    at_most: float | None = None

    @property
    def aim(self) -> str:
        """Return the goal in words, "" without one."""
        if self.at_most is not None:
            return f"at most {self.at_most:g} {self.unit}"
        return "" if self.goal is None else f"{self.goal:.3g} times"

    def times_better(self, ours: float, theirs: float) -> float:
        """Return how many times better ours is."""
        return ours / theirs if self.higher_is_better else theirs / ours


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison. what: a workload's name as `tropilla bench` knows it, or another kind of work.

    file: the stem of a model file. by_default, quick: whether runs without --rows measure it.
    """

    what: str
    file: str
    metrics: tuple[Metric, ...]
    by_default: bool = True
    quick: bool = False
    openvino: bool = False

    @property
    def name(self) -> str:
        """Return what --rows calls it."""
        return f"{self.what} {self.file}"


def _speed(what: str, file: str, goal: float | None = None, **more: bool) -> Row:
    return Row(what, file, (Metric("tokens/s", goal=goal),), **more)


def _less(what: str, file: str, unit: str, goal: float | None, **more: bool) -> Row:
    return Row(what, file, (Metric(unit, higher_is_better=False, goal=goal),), **more)


def _clients(what: str, file: str, **more: bool) -> Row:
    speed = Metric("tokens/s", goal=5.0, name="total")
    wait = Metric("s", higher_is_better=False, goal=5.0, name="first token")
    return Row(what, file, (speed, wait), **more)


def _rows() -> Iterator[Row]:
    small = "smollm2-Q4_1"
    yield _speed("pp512", small, 7.0, quick=True)
    yield _speed("tg128", small, 2.0, quick=True)
    yield _speed("tg64x8", small, 5.0)
    yield _speed("tg64x16", small, 5.0, quick=True)
    yield _speed("tg64@4k", small, 1.5)
    yield _speed("pp512", "smollm2-Q4_0", openvino=True, by_default=False)
    yield _speed("tg128", "smollm2-Q4_0", openvino=True, by_default=False)
    for kind in ("Q4_0", "Q4_K_M", "Q8_0"):
        yield _speed("pp512", f"1.1b-{kind}", 2.4, quick=kind == "Q4_0")
        yield _speed("tg64", f"1.1b-{kind}", 1.1, quick=kind == "Q4_0")
    yield _speed("pp512", "1.1b-Q4_0-49k", 2.4, openvino=True)
    yield _speed("tg64", "1.1b-Q4_0-49k", 1.1, openvino=True)
    for kind in ("Q4_1", "Q5_K_M", "Q6_K", "F16"):
        yield _speed("pp512", f"1.1b-{kind}", 2.4 if kind != "F16" else None, by_default=False)
        yield _speed("tg64", f"1.1b-{kind}", 1.1, by_default=False)
    yield _speed("tg32x8", "1.1b-Q4_0", 3.0)
    yield _speed("tg32x16", "1.1b-Q4_0", 3.0)
    yield _speed("tg64@4k", "1.1b-Q4_0", 1.5, by_default=False)
    yield Row("step8", "1.1b-Q4_0", (Metric("steps of 1", higher_is_better=False, at_most=1.6),))
    for kind in ("Q4_0", "Q4_K_M", "Q8_0"):
        yield _speed("pp512", f"7b-{kind}", 2.4, by_default=False)
        yield _speed("tg32", f"7b-{kind}", 1.1, by_default=False)
    yield _less("start", small, "s", 2.0, quick=True)
    yield _less("start", "1.1b-Q4_0", "s", 2.0)
    yield _less("memory", small, "MB", None)
    yield _less("memory", "1.1b-Q4_0", "MB", None)
    yield _less("quantize", "1.1b-F16", "s", 1.0)
    yield _clients("clients16", small)
    yield _clients("clients64", small, by_default=False)
    yield _speed("lookup", small, 1.0, by_default=False)


ROWS: tuple[Row, ...] = tuple(_rows())


def choose(patterns: list[str], *, quick: bool) -> list[Row]:
    """Return the rows whose name, or either half of it, matches a pattern; those of a usual run without any.

    Raises OptionError for a pattern that no row matches.
    """
    if not patterns:
        return [row for row in ROWS if (row.quick if quick else row.by_default)]
    for pattern in patterns:
        if not any(_matches(row, pattern) for row in ROWS):
            raise OptionError(f"no row matches {pattern!r}; --list names them all")
    return [row for row in ROWS if any(_matches(row, pattern) for pattern in patterns)]


def _matches(row: Row, pattern: str) -> bool:
    return fnmatch(row.name, pattern) or pattern in row.name.split()
