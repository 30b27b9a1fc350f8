"""From messages to the prompt of one model, by its own template or a built-in format."""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

from tropilla.errors import OptionError
from tropilla.options import suggestion
from tropilla.text.conversation import Conversation, Messages
from tropilla.text.prompt_formats import PROMPT_FORMATS, PromptFormat
from tropilla.text.special_tokens import Guard
from tropilla.text.template import ChatTemplate
from tropilla.text.tokenizer import Tokenizer


class ChatPrompt(Protocol):
    """Write the prompt of a conversation, up to where the answer starts."""

    @property
    def name(self) -> str:
        """Return what to call this way of prompting."""

    @property
    def stops(self) -> tuple[str, ...]:
        """Return the strings at which an answer ends, besides the model's end tokens."""

    @property
    def reply_lead(self) -> str:
        """Return what the model writes before the answer itself, such as one space."""

    def render(self, messages: Messages) -> str:
        """Return the prompt as text."""

    def encode(self, messages: Messages) -> list[int]:
        """Return the prompt's token ids; special tokens that a message spells stay ordinary text."""


class FormatPrompt:
    """Prompt in a built-in format."""

    def __init__(self, tokenizer: Tokenizer, prompt_format: PromptFormat) -> None:
        self._tokenizer = tokenizer
        self._format = prompt_format
        self.name = prompt_format.name
        self.stops = prompt_format.stops
        self.reply_lead = prompt_format.reply_lead

    def render(self, messages: Messages) -> str:
        """Return the prompt as text."""
        return self._format.render(Conversation.of(messages))

    def encode(self, messages: Messages) -> list[int]:
        """Return the prompt's token ids; special tokens that a message spells stay ordinary text."""
        segments = self._format.segments(Conversation.of(messages), open=True)
        guard = Guard(self._tokenizer.special_tokens, [segment.text for segment in segments])
        texts = (segment.text if segment.literal else guard.apply(segment.text) for segment in segments)
        return self._tokenizer.encode("".join(texts), parse_special=True, guard=guard)


OWN_TEMPLATE = "own template"


class TemplatePrompt:
    """Prompt with the template that came with the model; Jinja is loaded with the first prompt."""

    name = OWN_TEMPLATE
    stops: tuple[str, ...] = ()
    reply_lead = ""

    def __init__(self, tokenizer: Tokenizer, source: str) -> None:
        self._tokenizer = tokenizer
        self._source = source

    @cached_property
    def _template(self) -> ChatTemplate:
        bos, eos = self._tokenizer.bos_id, self._tokenizer.eos_id
        return ChatTemplate(
            self._source,
            bos="" if bos is None else self._tokenizer.piece(bos),
            eos="" if eos is None else self._tokenizer.piece(eos),
        )

    def render(self, messages: Messages) -> str:
        """Return the prompt as text."""
        return self._template.render(messages)

    def encode(self, messages: Messages) -> list[int]:
        """Return the prompt's token ids; special tokens that a message spells stay ordinary text."""
        return self._template.encode(self._tokenizer, messages)


def choose_chat_prompt(
    tokenizer: Tokenizer,
    *,
    template: str | None = None,
    prompt_format: str | None = None,
    suggested: str | None = None,
) -> ChatPrompt:
    """Choose how to prompt a model.

    prompt_format, what the user asks for, comes first; then the file's own template; then the format
    that the catalogue suggests; then ChatML where the vocabulary has its markers; else plain text.
    Raises OptionError for a prompt_format that does not exist, or a template that the file lacks.
    """
    if prompt_format == OWN_TEMPLATE and template is None:
        raise OptionError(f"the model brings no template of its own; choose {_choices()}")
    if template is not None and prompt_format in (None, OWN_TEMPLATE):
        return TemplatePrompt(tokenizer, template)
    if prompt_format is not None and prompt_format not in PROMPT_FORMATS:
        hint = suggestion(prompt_format, PROMPT_FORMATS) or f"; choose {_choices()}"
        raise OptionError(f"there is no prompt format {prompt_format!r}{hint}")
    known = prompt_format or (suggested if suggested in PROMPT_FORMATS else None)
    return FormatPrompt(tokenizer, PROMPT_FORMATS[known or _by_markers(tokenizer)])


def _by_markers(tokenizer: Tokenizer) -> str:
    markers = {"<|im_start|>", "<|im_end|>"}
    return "chatml" if markers <= tokenizer.special_tokens.keys() else "plain"


def _choices() -> str:
    return "one of " + ", ".join(sorted(PROMPT_FORMATS))
