"""A text that a base model and the user write in turn, as token ids that only ever grow at the end.

Source of the modes: the text terminal of llama.cpp, April 2023.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from tropilla.cli.chat.seam import TextModel
from tropilla.engine.sampling import Sampling
from tropilla.errors import RequestError


@dataclass(frozen=True, slots=True)
class Shifted:
    """Say that the context was full and the middle of the text was let go; counts are tokens."""

    kept_first: int
    kept_last: int
    dropped: int


class RunningText:
    """Let a model go on with a text, and let the user add to it.

    keep: how many tokens at the start survive a full context, in which case half of the rest goes;
    -1 keeps what was there before the model first wrote; None never drops anything: writing ends.
    reverse_prompts: when the model writes one of these, the turn passes to the user.
    """

    def __init__(
        self, model: TextModel, *, keep: int | None = None, reverse_prompts: Sequence[str] = ()
    ) -> None:
        self._model = model
        self._keep = keep
        self._reverse_prompts = tuple(prompt for prompt in reverse_prompts if prompt)
        self.token_ids: list[int] = []
        self.finish_reason = "cancelled"

    def add(self, text: str) -> None:
        """Put the user's text at the end."""
        self.token_ids += self._model.tokenize(text, add_bos=None if not self.token_ids else False)

    def write(self, sampling: Sampling) -> Generator[str | Shifted, None, None]:
        """Yield what the model writes next, until it ends, is cut, or hands over; then see finish_reason.

        finish_reason: "stop", "length", "reverse prompt", or "cancelled" if the iterator was closed.
        Raises RequestError if the text leaves no room and nothing may be dropped.
        """
        if not self.token_ids:
            raise RequestError("there is no text to go on with: give --prompt, --file or --interactive-first")
        if self._keep == -1:
            self._keep = len(self.token_ids)
        left = sampling.max_tokens
        while True:
            if len(self.token_ids) >= self._model.context_length:
                yield self._shift()
            before = len(self.token_ids)
            yield from self._stretch(sampling if left is None else replace(sampling, max_tokens=left))
            written = len(self.token_ids) - before
            left = None if left is None else left - written
            if self.finish_reason != "length" or left == 0 or self._keep is None:
                return
            yield self._shift()

    def cancel(self) -> None:
        """End the writing soon, from another thread, also while the text is still being read."""
        self._model.cancel()

    def _stretch(self, sampling: Sampling) -> Generator[str, None, None]:
        """Yield what the model writes until the context is full at the latest."""
        self.finish_reason = "cancelled"
        recent = ""
        longest = max(map(len, self._reverse_prompts), default=0)
        stream = self._model.stream(list(self.token_ids), sampling)
        with closing(stream):
            for piece in stream:
                if piece.finish_reason != "stop":  # not the end token: the text goes on after it
                    self.token_ids += piece.token_ids
                yield piece.text
                recent = recent[-longest:] + piece.text if longest else ""
                if any(prompt in recent for prompt in self._reverse_prompts):
                    self.finish_reason = "reverse prompt"
                    return
                self.finish_reason = piece.finish_reason or self.finish_reason

    def _shift(self) -> Shifted:
        n_tokens, n_context = len(self.token_ids), self._model.context_length
        if self._keep is None or self._keep >= n_context - 1:
            raise RequestError(
                f"the text has {n_tokens} tokens and the context holds {n_context}: shorten it, start with a "
                "larger --context-length, or let --keep N keep its first N tokens and half of the rest"
            )
        room = n_context - self._keep
        last = min((n_tokens - self._keep) // 2, room // 2)
        self.token_ids = self.token_ids[: self._keep] + self.token_ids[n_tokens - last :]
        return Shifted(self._keep, last, n_tokens - self._keep - last)
