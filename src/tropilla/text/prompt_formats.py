"""The prompt formats in which the LLaMA family of 2023 was trained, byte for byte.

BOS is no part of a format: the tokenizer puts it before the first token of a LLaMA prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tropilla.errors import RequestError
from tropilla.text.conversation import Conversation, Message

INPUT = "input"  # the name of a user message that gives an instruction its input


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a rendered conversation.

    trained: the model learns to write it. literal: the format's own text, in which special tokens count;
    what people wrote is not literal.
    """

    text: str
    trained: bool = False
    literal: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptFormat:
    """Describe a format by what stands around its parts; pairs are (before, after).

    opening is written once; a system text goes between `system`, or before the first user text where
    that is None. reply_open is the tail from which the model generates, reply_lead what it writes
    before the answer itself.
    """

    name: str
    stops: tuple[str, ...]
    reply_open: str
    opening: str = ""
    system: tuple[str, str] | None = None
    default_system: str = ""
    default_system_with_input: str = ""
    user: tuple[str, str] = ("", "")
    input: tuple[str, str] | None = None
    reply_lead: str = ""
    reply_end: str = ""
    after_reply: str = ""

    def render(self, conversation: Conversation, *, open: bool = True) -> str:
        """Return the prompt; open adds the tail from which the model answers.

        Raises RequestError where the roles do not alternate, or open has nothing to answer.
        """
        return "".join(segment.text for segment in self.segments(conversation, open=open))

    def segments(self, conversation: Conversation, *, open: bool = False) -> list[Segment]:
        """Return the rendered conversation in stretches, each with what training needs to know of it."""
        rounds = list(_rounds(conversation))
        if open and (not rounds or rounds[-1].reply is not None):
            raise RequestError(
                "the conversation must end with a user's message, or there is nothing to answer"
            )
        parts = [*self._opening(conversation.system, rounds)]
        for number, turn in enumerate(rounds):
            parts += self._request(turn, conversation.system if number == 0 else None)
            if turn.reply is not None:
                parts += self._reply(turn.reply)
        if open:
            parts.append(_literal(self.reply_open))
        return [segment for segment in parts if segment.text]

    def _opening(self, system: str | None, rounds: list[Round]) -> Iterator[Segment]:
        yield _literal(self.opening)
        if self.system is None:
            return
        with_input = bool(rounds) and rounds[0].input is not None
        default = self.default_system_with_input if with_input else self.default_system
        if system is not None or default:
            yield _literal(self.system[0])
            yield Segment(system) if system is not None else _literal(default)
            yield _literal(self.system[1])

    def _request(self, turn: Round, system: str | None) -> Iterator[Segment]:
        before, after = self.user
        yield _literal(before)
        if self.system is None and system is not None:
            yield Segment(f"{system}\n\n")
        yield Segment(turn.user)
        yield _literal(after)
        if turn.input is not None:
            if self.input is None:
                raise RequestError(
                    f"the prompt format {self.name} has no place for an input; write it into the message"
                )
            yield _literal(self.input[0])
            yield Segment(turn.input)
            yield _literal(self.input[1])

    def _reply(self, text: str) -> Iterator[Segment]:
        yield _literal(self.reply_open + self.reply_lead)
        yield Segment(text, trained=True)
        yield Segment(self.reply_end, trained=True, literal=True)
        yield _literal(self.after_reply)


@dataclass(frozen=True, slots=True)
class Round:
    """One request and its reply, if there is one yet."""

    user: str
    input: str | None = None
    reply: str | None = None


def _rounds(conversation: Conversation) -> Iterator[Round]:
    """Yield the rounds; raises RequestError where a message is out of place."""
    turns = list(conversation.turns)
    while turns:
        user = _take(turns, "user")
        is_input = bool(turns) and turns[0].role == "user" and turns[0].name == INPUT
        given = turns.pop(0).content if is_input else None
        yield Round(user, given, _take(turns, "assistant") if turns else None)


def _take(turns: list[Message], role: str) -> str:
    message = turns.pop(0)
    if message.role != role:
        raise RequestError(
            f"a message of the {role} was expected where one of the {message.role} stands; "
            "this prompt format needs user and assistant to take turns"
        )
    return message.content


def _literal(text: str) -> Segment:
    return Segment(text, literal=True)


_ALPACA = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request."
)
_ALPACA_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request."
)
_VICUNA_V0 = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions."
)
_VICUNA_V1 = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)


def _koala(name: str, marker: str) -> PromptFormat:
    return PromptFormat(
        name=name,
        stops=("</s>",),
        opening="BEGINNING OF CONVERSATION: ",
        user=("USER: ", ""),
        reply_open=f" {marker}",
        reply_lead=" ",
        reply_end="</s>",
    )


def _vicuna_v0(name: str, separator: str) -> PromptFormat:
    return PromptFormat(
        name=name,
        stops=("###",),
        system=("", ""),
        default_system=_VICUNA_V0,
        user=(f"{separator}Human: ", ""),
        reply_open=f"{separator}Assistant:",
        reply_lead=" ",
    )


def _openassistant(name: str, end: str) -> PromptFormat:
    return PromptFormat(
        name=name,
        stops=(end,),
        system=("<|system|>", end),
        user=("<|prompter|>", end),
        reply_open="<|assistant|>",
        reply_end=end,
    )


_FORMATS = (
    PromptFormat(name="plain", stops=(), reply_open=""),
    PromptFormat(
        name="alpaca",
        stops=("</s>",),
        system=("", ""),
        default_system=_ALPACA,
        default_system_with_input=_ALPACA_WITH_INPUT,
        user=("\n\n### Instruction:\n", ""),
        input=("\n\n### Input:\n", ""),
        reply_open="\n\n### Response:",
        reply_end="</s>",
    ),
    _vicuna_v0("vicuna-v0", "\n### "),
    _vicuna_v0("vicuna-v0-first", "###"),
    PromptFormat(
        name="vicuna-v1.1",
        stops=("</s>",),
        system=("", " "),
        default_system=_VICUNA_V1,
        user=("USER: ", ""),
        reply_open=" ASSISTANT:",
        reply_lead=" ",
        reply_end="</s>",
    ),
    _koala("koala", "GPT:"),
    _koala("koala-unhelpful", "An Unhelpful Answer:"),
    PromptFormat(name="wizardlm", stops=("</s>",), reply_open="\n\n### Response:", reply_end="</s>"),
    _openassistant("openassistant-pythia", "<|endoftext|>"),
    _openassistant("openassistant-llama", "</s>"),
    PromptFormat(
        name="llama.cpp-instruct",
        stops=("### Instruction:\n\n",),
        user=("\n\n### Instruction:\n\n", ""),
        reply_open="\n\n### Response:\n\n",
    ),
    PromptFormat(
        name="chatml",
        stops=("<|im_end|>",),
        system=("<|im_start|>system\n", "<|im_end|>\n"),
        user=("<|im_start|>user\n", "<|im_end|>\n"),
        reply_open="<|im_start|>assistant\n",
        reply_end="<|im_end|>",
        after_reply="\n",
    ),
    PromptFormat(
        name="dolly-v2",
        stops=("### End",),
        system=("", ""),
        default_system=_ALPACA,
        user=("\n\n### Instruction:\n", ""),
        input=("\n\nInput:\n", ""),
        reply_open="\n\n### Response:\n",
        reply_end="\n\n### End",
    ),
    PromptFormat(
        name="llama-qa",
        stops=("\n",),
        opening="Answer these questions:\n",
        user=("Q: ", "\n"),
        reply_open="A:",
        reply_lead=" ",
        reply_end="\n",
    ),
)
PROMPT_FORMATS: Mapping[str, PromptFormat] = MappingProxyType({format.name: format for format in _FORMATS})
