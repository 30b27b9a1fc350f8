"""Load a model and talk to it: the rooms below, joined into what a user calls."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Literal

from tropilla.api.capacity import require_memory
from tropilla.api.draft_model import require_same_vocabulary
from tropilla.api.in_thread import InThread
from tropilla.api.pieces import Piece, Reply, Usage
from tropilla.api.text_stream import TextStream
from tropilla.api.token_sampling import token_sampling
from tropilla.engine.engine import Engine
from tropilla.engine.engine_options import EngineOptions
from tropilla.engine.sampling import Sampling
from tropilla.engine.sequence import LiveSequence, TokenEvent
from tropilla.engine.stats import EngineStats
from tropilla.errors import FormatError, RequestError
from tropilla.formats.checkpoint import Checkpoint, open_checkpoint
from tropilla.hub.catalogue import catalogue
from tropilla.hub.library import prefix_folder, resolve
from tropilla.hub.memory import measure_memory
from tropilla.hub.names import looks_like_path
from tropilla.model.config import LlamaConfig
from tropilla.model.weights import load_weights
from tropilla.options import from_mapping
from tropilla.text.chat_prompt import ChatPrompt, choose_chat_prompt
from tropilla.text.conversation import Messages
from tropilla.text.tokenizer import Tokenizer, load_tokenizer

Prompt = str | Sequence[int]


def load(
    name: str | os.PathLike[str],
    *,
    prompt_format: str | None = None,
    **engine_options: Any,  # Any: EngineOptions' own fields, which it checks
) -> Model:
    """Load a model by its name in the library, its file or its folder.

    prompt_format: a built-in format to chat in, in place of the model's own template.
    Raises RequestError for an unknown name, FormatError or UnsupportedError for a file that cannot
    be run, CapacityError where it does not fit.
    """
    options = from_mapping(EngineOptions, engine_options, where="load")
    with ExitStack() as opened:
        draft = None
        if options.draft_model is not None:
            draft = opened.enter_context(open_checkpoint(resolve(options.draft_model)))
        return Model(
            opened.enter_context(open_checkpoint(resolve(name))),
            options,
            draft=draft,
            prompt_format=prompt_format,
            suggested_format=_format_in_catalogue(name),
        )


class Model:
    """Generate, chat, score and embed with one loaded model; usable from several threads."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        options: EngineOptions,
        *,
        draft: Checkpoint | None = None,
        prompt_format: str | None = None,
        suggested_format: str | None = None,
    ) -> None:
        """Copy a checkpoint's weights into the engine; it may be closed afterwards.

        draft: of options.draft_model.
        suggested_format: what to chat in if prompt_format is None and the file has no template.
        """
        if checkpoint.tokenizer is None:
            raise FormatError(checkpoint.path, "brings no tokenizer; put its tokenizer file beside it")
        self.path = checkpoint.path
        weights = load_weights(checkpoint)
        draft_weights = None if draft is None else load_weights(draft)
        require_memory(
            checkpoint,
            weights.config,
            options,
            available_bytes=measure_memory().available_bytes,
            draft=None if draft is None or draft_weights is None else (draft, draft_weights.config),
        )
        # Beside the packing of the weights, which is native work: both take about as long.
        tokenizer = InThread(partial(load_tokenizer, checkpoint.tokenizer))
        try:
            if draft is not None:
                require_same_vocabulary(tokenizer.result(), draft)
            self.engine = Engine(
                weights,
                options,
                prefix_folder=prefix_folder() if options.prefix_cache_mb else None,
                draft_weights=draft_weights,
            )
        finally:
            self.tokenizer: Tokenizer = tokenizer.result()
        self.chat_prompt: ChatPrompt = choose_chat_prompt(
            self.tokenizer,
            template=checkpoint.chat_template,
            prompt_format=prompt_format,
            suggested=suggested_format,
        )

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the model's memory back; the model is of no more use."""
        self.engine.close()

    @property
    def config(self) -> LlamaConfig:
        """Return the model's shape."""
        return self.engine.config

    @property
    def context_length(self) -> int:
        """Return how many tokens prompt and answer may have together."""
        return self.engine.context_length

    @property
    def stats(self) -> EngineStats:
        """Return what the engine has done and holds."""
        return self.engine.stats

    def tokenize(self, text: str, *, add_bos: bool | None = None, parse_special: bool = False) -> list[int]:
        """Return the text's token ids; add_bos None follows the model's own rule."""
        return self.tokenizer.encode(text, add_bos=add_bos, parse_special=parse_special)

    def detokenize(self, token_ids: Iterable[int]) -> str:
        """Return the text of token ids, special tokens left out."""
        return self.tokenizer.decode(token_ids)

    def render(self, messages: Messages) -> str:
        """Return the prompt text that a conversation becomes, up to where the answer starts."""
        return self.chat_prompt.render(messages)

    def encode_chat(self, messages: Messages) -> list[int]:
        """Return the prompt's token ids; special tokens that a message spells stay ordinary text."""
        return self.chat_prompt.encode(messages)

    def count_tokens(self, messages: Messages) -> int:
        """Return how many tokens a conversation takes as a prompt."""
        return len(self.encode_chat(messages))

    def stream(self, prompt: Prompt, sampling: Sampling | None = None) -> Generator[Piece, None, None]:
        """Yield how the model goes on from a text or token ids; closing the iterator cancels the rest.

        The last piece says why it ended and what it cost. Raises RequestError at once if the prompt
        does not fit the context.
        """
        prompt_ids = self.tokenize(prompt) if isinstance(prompt, str) else list(prompt)
        return self._stream(prompt_ids, sampling or Sampling())

    def cancel(self) -> None:
        """End every answer under way soon, from any thread, also one whose prompt is still being read."""
        self.engine.cancel_all()

    def complete(self, prompt: Prompt, sampling: Sampling | None = None) -> Reply:
        """Return how the model goes on from a text or token ids, whole."""
        sampling = (sampling or Sampling()).seeded()
        return _collect(self.stream(prompt, sampling), sampling)

    def chat_stream(
        self, messages: Messages, sampling: Sampling | None = None
    ) -> Generator[Piece, None, None]:
        """Yield the model's answer to a conversation; closing the iterator cancels the rest."""
        sampling = sampling or Sampling()
        stops = (*sampling.stop, *self.chat_prompt.stops)
        pieces = self._stream(self.encode_chat(messages), replace(sampling, stop=stops))
        return _without_lead(pieces, self.chat_prompt.reply_lead)

    def chat(self, messages: Messages, sampling: Sampling | None = None) -> Reply:
        """Return the model's answer to a conversation, whole."""
        sampling = (sampling or Sampling()).seeded()
        return _collect(self.chat_stream(messages, sampling), sampling)

    def score(self, context: Prompt, continuation: Prompt) -> float:
        """Return log p(continuation | context) in nats.

        Both texts are tokenised one by one and joined, so that the split between them is exact.
        Raises RequestError for an empty continuation.
        """
        before = self.tokenize(context) if isinstance(context, str) else list(context)
        after = (
            self.tokenize(continuation, add_bos=False)
            if isinstance(continuation, str)
            else list(continuation)
        )
        if not after:
            raise RequestError("the continuation is empty, so there is nothing to score")
        if not before:
            before = self._start_ids()
        return sum(self.engine.score([*before, *after], first=len(before)))

    def embed(self, text: Prompt, pooling: Literal["mean", "last"] = "mean") -> list[float]:
        """Return the text's embedding, (dim): the final hidden states' mean, or the last one."""
        token_ids = self.tokenize(text) if isinstance(text, str) else list(text)
        return self.engine.embed(token_ids, pooling)

    def _start_ids(self) -> list[int]:
        start = self.tokenizer.bos_id if self.tokenizer.bos_id is not None else self.tokenizer.eos_id
        if start is None:
            raise RequestError("the context is empty and the model has no start token; give some context")
        return [start]

    def _stream(self, prompt_ids: list[int], sampling: Sampling) -> Generator[Piece, None, None]:
        sequence = self.engine.submit(prompt_ids, token_sampling(sampling, self.tokenizer))
        text_stream = TextStream(
            self.tokenizer,
            prompt_ids,
            stops=sampling.stop,
            banned=sampling.banned_strings,
            rewind=partial(self.engine.rewind, sequence),
        )
        return self._pieces(sequence, self.engine.stream(sequence), text_stream)

    def _pieces(
        self, sequence: LiveSequence, events: Generator[TokenEvent, None, None], text_stream: TextStream
    ) -> Generator[Piece, None, None]:
        last = None
        with closing(events):
            for piece in text_stream.pieces(events):
                if piece.finish_reason is None:
                    yield piece
                else:
                    last = piece  # its cost is known once the sequence is closed
        assert last is not None, "a text stream ends with a finish reason"
        yield replace(last, usage=_usage(sequence))


def _format_in_catalogue(name: str | os.PathLike[str]) -> str | None:
    if not isinstance(name, str) or looks_like_path(name):
        return None
    listed = catalogue().get(name)
    return listed.prompt_format if listed else None


def _without_lead(pieces: Generator[Piece, None, None], lead: str) -> Generator[Piece, None, None]:
    """Take away what a format has the model write before the answer, such as one space."""
    with closing(pieces):
        for piece in pieces:
            if lead and piece.text:
                piece = replace(piece, text=piece.text.removeprefix(lead))
                lead = ""
            yield piece


def _collect(pieces: Generator[Piece, None, None], sampling: Sampling) -> Reply:
    collected = list(pieces)
    last = collected[-1]
    assert last.finish_reason is not None
    assert last.usage is not None
    assert sampling.seed is not None
    return Reply(
        text="".join(piece.text for piece in collected),
        token_ids=tuple(token_id for piece in collected for token_id in piece.token_ids),
        tokens=tuple(token for piece in collected for token in piece.tokens),
        finish_reason=last.finish_reason,
        stop=last.stop,
        usage=last.usage,
        seed=sampling.seed,
    )


def _usage(sequence: LiveSequence) -> Usage:
    started, first, finished = sequence.started_s, sequence.first_token_s, sequence.finished_s
    return Usage(
        prompt_tokens=sequence.n_prompt,
        completion_tokens=sequence.n_read,  # a step may have drawn tokens beyond a stop string
        cached_tokens=sequence.n_reused,
        prefill_s=first - started if first is not None and started is not None else 0.0,
        decode_s=finished - first if first is not None and finished is not None else 0.0,
    )
