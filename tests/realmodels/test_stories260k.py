"""A real trained LLaMA of 260 thousand weights tells the story that was published with it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tropilla
from tropilla import Sampling
from tropilla._native import isa_names
from tropilla.formats.checkpoint import open_checkpoint
from tropilla.model.reference import forward
from tropilla.model.weights import load_weights

GOLDEN = Path(__file__).parents[1] / "golden" / "stories260K.json"
STEPS = 256  # llama2.c's default: BOS counts as one of them


@pytest.fixture(scope="module")
def stories(real_data: Path) -> Path:
    return real_data / "weights" / "stories260K" / "stories260K.bin"


@pytest.mark.parametrize("isa", isa_names())
def test_the_published_story_comes_out_word_for_word(stories: Path, isa: str) -> None:
    golden = json.loads(GOLDEN.read_text("utf-8"))["text"]
    with tropilla.load(stories, isa=isa) as model:
        reply = model.complete("", Sampling(temperature=0.0, max_tokens=STEPS))
    assert reply.text == golden


def test_the_reference_agrees_with_the_story(stories: Path) -> None:
    """The greedy story is one where the reference finds each next token the most probable."""
    golden = json.loads(GOLDEN.read_text("utf-8"))["text"]
    with open_checkpoint(stories) as checkpoint, tropilla.load(stories) as model:
        weights = load_weights(checkpoint)
        arrays = {name: tensor.to_float32() for name, tensor in weights.tensors.items()}
        token_ids = model.tokenize(golden)
        logits = forward(weights.config, arrays, token_ids)
    assert np.argmax(logits[:-1], axis=-1).tolist() == token_ids[1:]
