"""Notice when an input takes a way through the code that none took before."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

Tracer = Callable[[FrameType, str, Any], Any]  # Any: what the interpreter passes and takes


class EdgeCoverage:
    """Collect the pairs of lines that followed one another in the files of a folder."""

    def __init__(self, folder: Path) -> None:
        self.edges: set[tuple[CodeType, int, int]] = set()
        self._folder = str(folder)

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Collect while the block runs."""
        before = sys.gettrace()
        sys.settrace(self._trace_call)
        try:
            yield
        finally:
            sys.settrace(before)

    def _trace_call(self, frame: FrameType, _event: str, _arg: Any) -> Tracer | None:
        code, last, edges = frame.f_code, 0, self.edges
        if not code.co_filename.startswith(self._folder):
            return None

        def trace_line(frame: FrameType, event: str, _arg: Any) -> Tracer:
            nonlocal last
            if event == "line":
                edges.add((code, last, frame.f_lineno))
                last = frame.f_lineno
            return trace_line

        return trace_line
