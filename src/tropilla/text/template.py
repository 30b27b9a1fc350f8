"""A model's own chat template: messages in, the prompt that the model was trained on out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from tropilla.errors import RequestError, UnsupportedError
from tropilla.text.conversation import Conversation, Messages
from tropilla.text.special_tokens import Guard, strings_in
from tropilla.text.template_limits import MAX_SOURCE_CHARS, Meter, TemplateLimitError
from tropilla.text.tokenizer import Tokenizer

_NEXT_STEP = "chat in one of the built-in prompt formats instead (--format, or prompt_format=)"


class ChatTemplate:
    """Render messages with a Jinja template that came with a model file.

    bos, eos: what the template sees as bos_token and eos_token. The template is untrusted: it runs in a
    sandbox with limits on its time, its text and its own length.
    Raises UnsupportedError for a template that does not compile.
    """

    def __init__(self, source: str, bos: str = "", eos: str = "") -> None:
        self.source = source
        self._tokens = {"bos_token": bos, "eos_token": eos}
        if len(source) > MAX_SOURCE_CHARS:
            raise UnsupportedError(
                f"the chat template has {len(source)} characters, more than {MAX_SOURCE_CHARS}; {_NEXT_STEP}"
            )
        from tropilla.text.template_sandbox import ChatEnvironment

        self._environment = ChatEnvironment()
        with _compile_errors():
            self._template = self._environment.from_string(source)

    def render(
        self,
        messages: Messages,
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, object]] | None = None,
        **variables: object,
    ) -> str:
        """Return the prompt; variables are passed on to the template (enable_thinking, date_string, ...).

        Raises RequestError where the template refuses the messages, UnsupportedError where it fails or
        exceeds its limits.
        """
        return self._render(
            Conversation.of(messages).as_dicts(),
            {**variables, "tools": tools, "add_generation_prompt": add_generation_prompt},
        )

    def encode(
        self,
        tokenizer: Tokenizer,
        messages: Messages,
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, object]] | None = None,
        **variables: object,
    ) -> list[int]:
        """Return the prompt's token ids; special tokens written in a message stay ordinary text.

        The ids equal those of the whole rendered prompt wherever messages hold no special tokens.
        """
        given = {**variables, "messages": Conversation.of(messages).as_dicts(), "tools": tools}
        guard = Guard(tokenizer.special_tokens, strings_in(given))
        guarded = guard.apply_deep(given)
        assert isinstance(guarded, dict)
        prompt = self._render(
            guarded.pop("messages"), {**guarded, "add_generation_prompt": add_generation_prompt}
        )
        return tokenizer.encode(prompt, parse_special=True, guard=guard)

    def _render(self, messages: object, variables: Mapping[str, object]) -> str:
        given = {**variables, **self._tokens, "messages": messages}
        self._environment.run_metered(Meter(sum(map(len, strings_in(given)))))
        with _render_errors():
            # Template.render would first rewrite the traceback of whatever goes wrong, which takes seconds
            # after a deep recursion.
            return "".join(self._template.root_render_func(self._template.new_context(given)))


@contextmanager
def _compile_errors() -> Iterator[None]:
    from jinja2 import TemplateError

    try:
        yield
    except TemplateLimitError as error:
        raise UnsupportedError(f"the chat template {error}; {_NEXT_STEP}") from None
    except (TemplateError, SyntaxError, RecursionError, MemoryError, ValueError, OverflowError) as error:
        raise UnsupportedError(
            f"the chat template does not compile: {_sentence(error)}; {_NEXT_STEP}"
        ) from None


@contextmanager
def _render_errors() -> Iterator[None]:
    from tropilla.text.template_sandbox import TemplateRefusalError

    try:
        yield
    except TemplateRefusalError as error:
        raise RequestError(f"the model's chat template refuses these messages: {error}") from None
    except TemplateLimitError as error:
        raise UnsupportedError(f"the chat template {error} and was stopped; {_NEXT_STEP}") from None
    except Exception as error:  # a template can raise anything that an expression can
        raise UnsupportedError(
            f"the chat template fails with {type(error).__name__}: {_sentence(error)}; {_NEXT_STEP}"
        ) from None


def _sentence(error: Exception) -> str:
    """Return the error's words without the full stop that would end our sentence in its middle."""
    return str(error).rstrip(".")
