"""Base-model mode in the terminal: the model writes, the user interjects or answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tropilla.cli.background import Background
from tropilla.cli.chat.entry import Reader
from tropilla.cli.chat.running_text import RunningText, Shifted
from tropilla.cli.chat.screen import Screen
from tropilla.engine.sampling import Sampling

# llama.cpp's instruct mode, April 2023: what it puts around the user's words, and what ends a reply.
_INSTRUCT_BEFORE = "\n\n### Instruction:\n\n"
_INSTRUCT_AFTER = "\n\n### Response:\n\n"
INSTRUCT_REVERSE_PROMPT = "### Instruction:\n\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Turns:
    """Say how the user takes part: not at all, when the model hands over, or first of all."""

    interactive: bool = False
    user_first: bool = False
    instruct: bool = False
    in_prefix: str = ""

    def wrap(self, line: str) -> str:
        """Return what the user's line adds to the text."""
        if self.instruct:
            return f"{_INSTRUCT_BEFORE}{self.in_prefix}{line}{_INSTRUCT_AFTER}"
        return f"{self.in_prefix}{line}\n"


def reverse_prompts(given: Sequence[str], turns: Turns) -> list[str]:
    """Return the reverse prompts that were given, with the one that instruct mode brings."""
    return [*given, *([INSTRUCT_REVERSE_PROMPT] if turns.instruct else [])]


class RunningTextLoop:
    """Let model and user write in turn until the text ends or the user leaves."""

    def __init__(
        self, text: RunningText, reader: Reader | None, screen: Screen, sampling: Sampling, turns: Turns
    ) -> None:
        self._text = text
        self._reader = reader
        self._screen = screen
        self._sampling = sampling
        self._turns = turns
        self._interrupted = False  # Ctrl-C was the last thing that happened: the next one leaves

    def run(self, prompt: str) -> None:
        """Begin with prompt and go on by turns; without a reader the model writes once."""
        self._text.add(prompt)
        self._screen.answer(prompt)
        if not self._turns.user_first:
            self._write()
        self._screen.end_answer()
        while self._reader is not None and self._listen(self._reader):
            self._write()
            self._screen.end_answer()

    def _listen(self, reader: Reader) -> bool:
        """Add the user's line; an empty one lets the model go on; return whether the user stays."""
        while True:
            try:
                line = reader.read()
            except EOFError:
                return False
            except KeyboardInterrupt:
                if self._interrupted:
                    return False
                self._interrupted = True
                self._screen.whisper("Ctrl-C again, or Ctrl-D, leaves.")
                continue
            self._interrupted = False
            if line:
                self._text.add(self._turns.wrap(line))
            return True

    def _write(self) -> None:
        work = Background(self._text.write(self._sampling))
        try:
            for part in work:
                if part is not None:
                    self._show(part)
        except KeyboardInterrupt:
            self._text.cancel()
            for part in work.stop():
                self._show(part)
            if not self._turns.interactive:
                raise
            self._interrupted = True
        if self._text.finish_reason == "length":
            self._screen.end_answer()
            self._screen.whisper(f"[cut after {len(self._text.token_ids)} tokens of text]")

    def _show(self, part: str | Shifted) -> None:
        if isinstance(part, str):
            self._screen.answer(part)
            return
        self._screen.end_answer()
        self._screen.whisper(
            f"[context full: the first {part.kept_first} and the last {part.kept_last} tokens stay, "
            f"{part.dropped} between them go]"
        )
