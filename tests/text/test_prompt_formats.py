"""The released prompt formats, typed here by hand from their makers' descriptions (lineage, section 11)."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import tropilla
from tropilla.errors import RequestError
from tropilla.text.conversation import Conversation, Message
from tropilla.text.prompt_formats import INPUT, PROMPT_FORMATS, Segment

ONE = Conversation.of([{"role": "user", "content": "U1"}])
TWO = ONE.add("assistant", "A1").add("user", "U2")
THREE = TWO.add("assistant", "A2")
WITH_SYSTEM = Conversation.of([{"role": "system", "content": "SYS"}, *TWO])
WITH_INPUT = Conversation((Message("user", "U1"), Message("user", "IN", name=INPUT)))

VICUNA_V0_SYSTEM = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions."
)
VICUNA_V1_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
ALPACA = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request."
)
ALPACA_IN = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request."
)

OPEN = {
    "alpaca": (
        f"{ALPACA}\n\n### Instruction:\nU1\n\n### Response:A1</s>"
        "\n\n### Instruction:\nU2\n\n### Response:"
    ),
    "vicuna-v0": f"{VICUNA_V0_SYSTEM}\n### Human: U1\n### Assistant: A1\n### Human: U2\n### Assistant:",
    "vicuna-v0-first": f"{VICUNA_V0_SYSTEM}###Human: U1###Assistant: A1###Human: U2###Assistant:",
    "vicuna-v1.1": f"{VICUNA_V1_SYSTEM} USER: U1 ASSISTANT: A1</s>USER: U2 ASSISTANT:",
    "koala": "BEGINNING OF CONVERSATION: USER: U1 GPT: A1</s>USER: U2 GPT:",
    "koala-unhelpful": (
        "BEGINNING OF CONVERSATION: USER: U1 An Unhelpful Answer: A1</s>USER: U2 An Unhelpful Answer:"
    ),
    "wizardlm": "U1\n\n### Response:A1</s>U2\n\n### Response:",
    "openassistant-pythia": (
        "<|prompter|>U1<|endoftext|><|assistant|>A1<|endoftext|><|prompter|>U2<|endoftext|><|assistant|>"
    ),
    "openassistant-llama": "<|prompter|>U1</s><|assistant|>A1</s><|prompter|>U2</s><|assistant|>",
    "llama.cpp-instruct": (
        "\n\n### Instruction:\n\nU1\n\n### Response:\n\nA1\n\n### Instruction:\n\nU2\n\n### Response:\n\n"
    ),
    "chatml": (
        "<|im_start|>user\nU1<|im_end|>\n<|im_start|>assistant\nA1<|im_end|>\n"
        "<|im_start|>user\nU2<|im_end|>\n<|im_start|>assistant\n"
    ),
    "dolly-v2": (
        f"{ALPACA}\n\n### Instruction:\nU1\n\n### Response:\nA1\n\n### End"
        "\n\n### Instruction:\nU2\n\n### Response:\n"
    ),
    "llama-qa": "Answer these questions:\nQ: U1\nA: A1\nQ: U2\nA:",
    "plain": "U1A1U2",
}  # fmt: skip
STOPS = {
    "alpaca": ("</s>",),
    "vicuna-v0": ("###",),
    "vicuna-v0-first": ("###",),
    "vicuna-v1.1": ("</s>",),
    "koala": ("</s>",),
    "koala-unhelpful": ("</s>",),
    "wizardlm": ("</s>",),
    "openassistant-pythia": ("<|endoftext|>",),
    "openassistant-llama": ("</s>",),
    "llama.cpp-instruct": ("### Instruction:\n\n",),
    "chatml": ("<|im_end|>",),
    "dolly-v2": ("### End",),
    "llama-qa": ("\n",),
    "plain": (),
}
TAIL = {
    "alpaca": "A2</s>",
    "vicuna-v0": " A2",
    "vicuna-v0-first": " A2",
    "vicuna-v1.1": " A2</s>",
    "koala": " A2</s>",
    "koala-unhelpful": " A2</s>",
    "wizardlm": "A2</s>",
    "openassistant-pythia": "A2<|endoftext|>",
    "openassistant-llama": "A2</s>",
    "llama.cpp-instruct": "A2",
    "chatml": "A2<|im_end|>\n",
    "dolly-v2": "A2\n\n### End",
    "llama-qa": " A2\n",
    "plain": "A2",
}


def test_every_format_is_tested() -> None:
    assert PROMPT_FORMATS.keys() == OPEN.keys() == STOPS.keys() == TAIL.keys()
    assert all(name == prompt_format.name for name, prompt_format in PROMPT_FORMATS.items())


@pytest.mark.parametrize("name", OPEN)
def test_formats_are_byte_exact(name: str) -> None:
    prompt_format = PROMPT_FORMATS[name]
    assert prompt_format.render(TWO) == OPEN[name]
    assert prompt_format.render(THREE, open=False) == OPEN[name] + TAIL[name]
    assert prompt_format.stops == STOPS[name]


@pytest.mark.parametrize("name", OPEN)
def test_only_what_the_model_is_to_write_is_trained(name: str) -> None:
    prompt_format = PROMPT_FORMATS[name]
    segments = prompt_format.segments(THREE)
    end = prompt_format.reply_end
    assert "".join(s.text for s in segments if s.trained) == f"A1{end}A2{end}"
    assert "".join(segment.text for segment in segments) == prompt_format.render(THREE, open=False)


@pytest.mark.parametrize("name", OPEN)
def test_what_people_wrote_is_never_literal(name: str) -> None:
    """Else a user who writes "</s>" would end the turn."""
    for segment in PROMPT_FORMATS[name].segments(WITH_SYSTEM):
        if segment.text in ("U1", "A1", "U2") or "SYS" in segment.text:
            assert not segment.literal
        else:
            assert segment.literal


@pytest.mark.parametrize(
    ("name", "beginning"),
    [
        ("vicuna-v1.1", "SYS USER: U1 ASSISTANT:"),
        ("vicuna-v0", "SYS\n### Human: U1"),
        ("alpaca", "SYS\n\n### Instruction:\nU1"),
        ("chatml", "<|im_start|>system\nSYS<|im_end|>\n<|im_start|>user\nU1<|im_end|>\n"),
        ("openassistant-pythia", "<|system|>SYS<|endoftext|><|prompter|>U1<|endoftext|>"),
        ("openassistant-llama", "<|system|>SYS</s><|prompter|>U1</s>"),
        ("koala", "BEGINNING OF CONVERSATION: USER: SYS\n\nU1 GPT:"),
        ("wizardlm", "SYS\n\nU1\n\n### Response:"),
    ],
)
def test_a_system_text_has_its_place(name: str, beginning: str) -> None:
    assert PROMPT_FORMATS[name].render(WITH_SYSTEM).startswith(beginning)


def test_alpaca_with_input() -> None:
    assert PROMPT_FORMATS["alpaca"].render(WITH_INPUT) == (
        f"{ALPACA_IN}\n\n### Instruction:\nU1\n\n### Input:\nIN\n\n### Response:"
    )
    with pytest.raises(RequestError, match=r"vicuna-v1\.1 has no place for an input"):
        PROMPT_FORMATS["vicuna-v1.1"].render(WITH_INPUT)


def test_segments_of_one_round() -> None:
    assert PROMPT_FORMATS["koala"].segments(ONE.add("assistant", "A1")) == [
        Segment("BEGINNING OF CONVERSATION: ", literal=True),
        Segment("USER: ", literal=True),
        Segment("U1"),
        Segment(" GPT: ", literal=True),
        Segment("A1", trained=True),
        Segment("</s>", trained=True, literal=True),
    ]


@pytest.mark.parametrize(
    ("conversation", "named"),
    [
        (THREE, "must end with a user's message"),
        (Conversation(), "must end with a user's message"),
        (ONE.add("user", "U2"), "the assistant was expected where one of the user"),
        (Conversation().add("assistant", "A1"), "the user was expected where one of the assistant"),
        (ONE.add("assistant", "A1").add("tool", "T"), "the user was expected where one of the tool"),
    ],
)
def test_messages_out_of_place_are_refused(conversation: Conversation, named: str) -> None:
    with pytest.raises(RequestError, match=named):
        PROMPT_FORMATS["vicuna-v1.1"].render(conversation)


def test_every_format_of_the_catalogue_exists() -> None:
    """The catalogue names formats, but its room may not be imported from below."""
    catalogue = tomllib.loads((Path(tropilla.__file__).parent / "hub" / "catalogue.toml").read_text("utf-8"))
    entries = [entry for table in catalogue.values() if isinstance(table, list) for entry in table]
    named = {entry["prompt_format"] for entry in entries if "prompt_format" in entry}
    assert named
    assert named - {"own template"} <= PROMPT_FORMATS.keys()
