"""The boundary between a program and the shell that started it: exit statuses, errors, streams."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from tropilla.errors import TropillaError

INTERRUPTED = 130  # what a shell reports for a program ended by Ctrl-C
PIPE_CLOSED = 141  # likewise for one whose reader went away, such as `| head`


def guarded(program: Callable[[], int]) -> int:
    """Return the program's exit status, whatever way it ends.

    A TropillaError ends as one sentence on standard error; only our own mistakes show a traceback.
    """
    _open_closed_streams()
    _speak_utf8()
    try:
        status = program()
        sys.stdout.flush()  # a closed pipe must show itself here, not at interpreter exit
        return status
    except TropillaError as error:
        return _fail(str(error), error.exit_status)
    except KeyboardInterrupt:
        _leave_background_work()
        return INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return PIPE_CLOSED
    except OSError as error:
        return _fail(_os_words(error), 1)


def _leave_background_work() -> None:
    """End the process here and now if a thread of ours is still busy: Ctrl-C must not wait for it."""
    background = sys.modules.get("tropilla.cli.background")  # never loaded: nothing can be running
    if background is not None and background.any_is_running():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(INTERRUPTED)


def _fail(message: str, status: int) -> int:
    sys.stdout.flush()
    print(f"tropilla: {message}", file=sys.stderr)
    return status


def _os_words(error: OSError) -> str:
    what = error.strerror or str(error)
    return f"{os.fspath(error.filename)!s}: {what}" if error.filename else what


def _speak_utf8() -> None:
    """Make the standard streams UTF-8 where the platform chose less, so that no answer can fail to print.

    Input that is not UTF-8 is an error everywhere; in the C locale Python would let it pass for now.
    """
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # absent where a test put another stream
        if reconfigure and stream is sys.stdin:
            reconfigure(encoding="utf-8", errors="strict")
        elif reconfigure and (stream.encoding or "").lower().replace("-", "") != "utf8":
            reconfigure(encoding="utf-8", errors="replace")


def _open_closed_streams() -> None:
    """Point streams that the shell closed, such as with `>&-`, at nothing: Python has None in their place.

    In the order of their numbers, so that no file opened later takes the number of one.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))


def _silence_stdout() -> None:
    """Point standard output at nothing, so that the interpreter's last flush finds no closed pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
