"""Drive a program through a pseudo-terminal and read its screen as a user sees it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import pexpect
import pyte

ROOT = Path(__file__).resolve().parents[3]
COLUMNS, ROWS = 100, 40
CTRL_C, CTRL_D, CTRL_G, CTRL_R, ENTER, UP = "\x03", "\x04", "\x07", "\x12", "\r", "\x1b[A"


class Terminal:
    """A terminal of COLUMNS x ROWS with one program in it; the screen keeps what has scrolled away."""

    def __init__(self, *arguments: str, home: Path, **environment: str) -> None:
        env = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        env |= {"TROPILLA_HOME": str(home), "PYTHONPATH": _python_path(), "TERM": "xterm-256color"}
        self._screen = pyte.HistoryScreen(COLUMNS, ROWS, history=5000)
        self._stream = pyte.ByteStream(self._screen)
        self._child = pexpect.spawn(
            sys.executable,
            list(arguments),
            env={**env, **environment},
            dimensions=(ROWS, COLUMNS),
            cwd=ROOT,
            preexec_fn=_hear_ctrl_c,
        )
        self._screen.write_process_input = self._child.send  # answers the program's question for the cursor
        self.raw = b""

    def send(self, keys: str) -> None:
        """Press keys."""
        self._child.send(keys)

    def enter(self, line: str) -> None:
        """Type a line and press Enter."""
        self.send(line + ENTER)

    def wait_for(self, text: str, timeout_s: float = 20, *, times: int = 1) -> str:
        """Read until the screen shows the text so many times; return the screen."""
        deadline = time.monotonic() + timeout_s
        while self.screen().count(text) < times:
            if time.monotonic() > deadline or not self._read():
                raise AssertionError(f"no {text!r} on the screen:\n{self.screen()}")
        return self.screen()

    def wait_for_end(self, timeout_s: float = 20) -> int:
        """Read until the program ends; return its exit status."""
        deadline = time.monotonic() + timeout_s
        while self._read():
            if time.monotonic() > deadline:
                raise AssertionError(f"the program goes on:\n{self.screen()}")
        self._child.close()
        status = self._child.exitstatus
        assert status is not None, f"ended by signal {self._child.signalstatus}:\n{self.screen()}"
        return int(status)

    def screen(self) -> str:
        """Return all lines that the terminal has shown, without the spaces at their ends."""
        history = [_line(row) for row in self._screen.history.top]
        return "\n".join([*history, *(line.rstrip() for line in self._screen.display)]).rstrip()

    def peak_memory_bytes(self) -> int:
        """Return the most memory that the program has had resident so far (Linux)."""
        status = Path(f"/proc/{self._child.pid}/status").read_text("ascii")
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024

    def close(self) -> None:
        """End the program if it still runs."""
        self._child.close(force=True)

    def _read(self) -> bool:
        """Feed what has come to the screen; return False once the program has ended."""
        try:
            with contextlib.suppress(pexpect.TIMEOUT):
                data = self._child.read_nonblocking(65536, timeout=0.1)
                self.raw += data
                self._stream.feed(data)
        except pexpect.EOF:
            return False
        return True


def _line(row: dict[int, pyte.screens.Char]) -> str:
    return "".join(row[x].data for x in range(COLUMNS)).rstrip()


def _hear_ctrl_c() -> None:
    """Undo what tests started in the background inherit, and a real terminal's programs never do."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _python_path() -> str:
    return os.pathsep.join([str(ROOT), *sys.path])


def fake_chat(
    *arguments: str, home: Path, replies: tuple[str, ...] = ("ok",), **environment: str
) -> Terminal:
    """Start the chat with the scripted model; fake_chat.py says what the environment sets."""
    module = ("-m", "tests.cli.chat.fake_chat")
    return Terminal(*module, *arguments, home=home, FAKE_REPLIES=json.dumps(replies), **environment)
