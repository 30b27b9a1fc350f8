"""From a sequence's token events to pieces of text that are final."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tropilla.api.pieces import FinishReason, Piece, SampledToken, TokenLogprob
from tropilla.engine.sequence import TokenEvent
from tropilla.text.stops import BannedStringMatcher, StopMatcher
from tropilla.text.tokenizer import Tokenizer

# Take back the last n tokens of a sequence and do not draw these at the first place taken back.
Rewind = Callable[[int, Sequence[int]], None]


class TextStream:
    """Decode one sequence: whole characters only, no part of a stop string, no banned string.

    rewind is called where a banned string came up; events go on from there.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        prompt_ids: Sequence[int],
        *,
        stops: Sequence[str],
        banned: Sequence[str],
        rewind: Rewind,
    ) -> None:
        self._tokenizer = tokenizer
        self._prompt_ids = prompt_ids
        self._decoder = tokenizer.stream_decoder(after=prompt_ids)
        self._stops = StopMatcher(stops)
        self._banned = BannedStringMatcher(banned)
        self._rewind = rewind
        self._token_ids: list[int] = []  # drawn and not taken back
        self._held: list[TokenEvent] = []  # the last of them, whose text may yet be taken back
        self._bans: dict[int, list[int]] = {}  # by place in the answer

    def pieces(self, events: Iterator[TokenEvent]) -> Iterator[Piece]:
        """Yield a piece for each event; the last one has a finish_reason, but no usage yet."""
        for event in events:
            piece = self._piece(event)
            yield piece
            if piece.finish_reason is not None:
                return
        raise AssertionError("the engine ends every sequence with a finish reason")

    def _piece(self, event: TokenEvent) -> Piece:
        text, n_rewind = self._banned.push(self._decoded(event))
        if n_rewind:
            self._take_back(n_rewind)
            return self._released(text, None)
        if event.finish_reason is None:
            return self._released(text, None)
        return self._released(text + self._banned.flush(), _finish_reason(event))

    def _decoded(self, event: TokenEvent) -> str:
        text = ""
        if event.token_id is not None:
            self._token_ids.append(event.token_id)
            self._held.append(event)
            # A token that ends the answer is no part of its text, even if it is an ordinary one.
            text = "" if event.finish_reason == "stop" else self._decoder.push(event.token_id)
        return text if event.finish_reason is None else text + self._decoder.flush()

    def _released(self, text: str, reason: FinishReason | None) -> Piece:
        """Return text that is not banned as a piece, with the tokens that it was made of."""
        shown, stop = self._stops.push(text)
        if stop is not None:
            reason = "stop"
        elif reason is not None:
            shown += self._stops.flush()
        n_released = len(self._held) - (0 if reason is not None else self._banned.n_held)
        released, self._held = self._held[:n_released], self._held[n_released:]
        return Piece(
            text=shown,
            token_ids=tuple(event.token_id for event in released if event.token_id is not None),
            tokens=tuple(self._sampled(event) for event in released if event.logprob is not None),
            finish_reason=reason,
            stop=stop,
        )

    def _take_back(self, n_tokens: int) -> None:
        """Rewind to where a banned string began; a token that failed there before stays banned there."""
        place = len(self._token_ids) - n_tokens
        first = self._token_ids[place]
        self._bans = {at: ids for at, ids in self._bans.items() if at <= place}
        self._bans.setdefault(place, []).append(first)
        del self._token_ids[place:]
        del self._held[len(self._held) - n_tokens :]
        self._decoder = self._tokenizer.stream_decoder(after=self._prompt_ids)
        for token_id in self._token_ids:
            self._decoder.push(token_id)
        self._rewind(n_tokens, self._bans[place])

    def _sampled(self, event: TokenEvent) -> SampledToken:
        assert event.token_id is not None
        assert event.logprob is not None
        return SampledToken(
            token_id=event.token_id,
            text=self._spell(event.token_id),
            logprob=event.logprob,
            top=tuple(
                TokenLogprob(token_id=token_id, text=self._spell(token_id), logprob=logprob)
                for token_id, logprob in event.top
            ),
        )

    def _spell(self, token_id: int) -> str:
        return self._tokenizer.decode_bytes(token_id).decode("utf-8", "replace")


def _finish_reason(event: TokenEvent) -> FinishReason:
    assert event.finish_reason is not None
    assert event.finish_reason != "error", "the engine's stream raises errors"
    return event.finish_reason
