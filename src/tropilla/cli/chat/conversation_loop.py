"""The chat in the terminal: read an entry, do what it asks, show what follows."""

from __future__ import annotations

from collections.abc import Iterator

from tropilla.cli.background import Background
from tropilla.cli.chat.app import ChatApp
from tropilla.cli.chat.commands import respond
from tropilla.cli.chat.entry import Reader
from tropilla.cli.chat.outcome import Answer, Leave, Outcome, Prefill, Say
from tropilla.cli.chat.reports import status_line
from tropilla.cli.chat.screen import Screen
from tropilla.errors import TropillaError

_TICKS_BEFORE_A_WORD = 5  # about half a second without a token before saying what takes so long


class ConversationLoop:
    """Join the open chat, the keyboard and the screen; errors are shown and the chat goes on."""

    def __init__(self, app: ChatApp, reader: Reader, screen: Screen) -> None:
        self._app = app
        self._reader = reader
        self._screen = screen
        self._prefill = ""
        self._interrupted = False  # Ctrl-C was the last thing that happened: the next one leaves

    def run(self) -> None:
        """Converse until the user leaves."""
        while True:
            try:
                line = self._reader.read(self._prefill)
            except EOFError:
                return
            except KeyboardInterrupt:
                if self._interrupted:
                    return
                self._interrupted = True
                self._drop_edit()
                self._screen.whisper("Ctrl-C again, or Ctrl-D, leaves.")
                continue
            self._interrupted, self._prefill = False, ""
            if not self._take(line):
                return

    def _take(self, line: str) -> bool:
        """Do what an entry asks; return whether to go on."""
        if not line:
            self._drop_edit()
            return True
        try:
            return self._show(respond(self._app, line))
        except (TropillaError, OSError) as error:
            self._screen.complain(f"{error}\n")
        return True

    def _show(self, outcome: Outcome) -> bool:
        match outcome:
            case Say(text):
                self._screen.say(f"{text}\n")
            case Prefill(text):
                self._prefill = text
            case Answer(pieces):
                self._show_answer(pieces)
            case Leave():
                return False
        return True

    def _show_answer(self, pieces: Iterator[str]) -> None:
        before = self._app.session.last_turn
        work = Background(pieces)
        try:
            self._stream(work)
        except KeyboardInterrupt:
            self._screen.busy("stopping ...")
            self._app.model.cancel()
            self._screen.answer("".join(work.stop()))
            self._interrupted = True
        finally:
            self._screen.end_answer()
        turn = self._app.session.last_turn
        if turn is None or turn is before:
            self._screen.whisper("Stopped before the first word: your message was taken back.\n")
        else:
            self._screen.whisper(f"{status_line(turn)}\n")

    def _stream(self, work: Background[str]) -> None:
        n_ticks = 0
        for text in work:
            if text is None:
                n_ticks += 1
                if n_ticks == _TICKS_BEFORE_A_WORD:
                    self._screen.busy("reading the conversation ...")
            else:
                n_ticks = _TICKS_BEFORE_A_WORD  # an answer that pauses needs no remark
                self._screen.answer(text)

    def _drop_edit(self) -> None:
        self._prefill = ""
        self._app.cancel_edit()
