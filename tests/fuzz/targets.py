"""What is done with each damaged model: everything that opening and running it would do."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress
from pathlib import Path

from tropilla._native import SamplerParams
from tropilla.engine.engine import Engine
from tropilla.engine.engine_options import EngineOptions
from tropilla.engine.sequence import TokenSampling
from tropilla.errors import TropillaError, UnsupportedError
from tropilla.formats.checkpoint import open_checkpoint
from tropilla.formats.gguf import GGUFFile
from tropilla.formats.gguf_values import GGUFArray
from tropilla.formats.safetensors import SafetensorsFile
from tropilla.model.weights import ModelWeights, load_weights
from tropilla.text.template import ChatTemplate
from tropilla.text.tokenizer import load_tokenizer

# The readers' own objects and buffers, whatever the file holds.
ALLOWANCE_BYTES = 4 << 20


def read_file(path: Path) -> None:
    """Open a GGUF or safetensors file, decode all that it holds, and hold its memory against its size."""
    tracemalloc.start()
    try:
        with _open(path) as file:
            _walk(file)
            peak = tracemalloc.get_traced_memory()[1]
            assert peak <= file.size_bytes + ALLOWANCE_BYTES, f"opening took {peak} bytes"
            _dequantise(file)
    finally:
        tracemalloc.stop()


def _open(path: Path) -> GGUFFile | SafetensorsFile:
    return GGUFFile(path) if path.suffix == ".gguf" else SafetensorsFile(path)


def _walk(file: GGUFFile | SafetensorsFile) -> None:
    for value in file.metadata.values():
        if isinstance(value, GGUFArray):
            for item in value:
                assert isinstance(item, int | float | str)


def _dequantise(file: GGUFFile | SafetensorsFile) -> None:
    for tensor in file.tensors.values():
        try:
            weights = tensor.to_float32()
        except UnsupportedError:
            continue
        assert weights.shape == tensor.shape
        tensor.release()


def load_model(path: Path, isa: str | None = None) -> None:
    """Take a model as far as a chat would, on the kernels of one instruction set."""
    with open_checkpoint(path) as checkpoint:
        if checkpoint.tokenizer is not None:
            tokenizer = load_tokenizer(checkpoint.tokenizer)
            ids = tokenizer.encode("the ñandú 🦙\n")
            assert all(0 <= token_id < tokenizer.vocab_size for token_id in ids)
            tokenizer.decode(ids)
        if checkpoint.chat_template is not None:
            ChatTemplate(checkpoint.chat_template, "<s>", "</s>").render([{"role": "user", "content": "Hi"}])
        _answer(load_weights(checkpoint), isa)


def _answer(weights: ModelWeights, isa: str | None) -> None:
    """Read a prompt in one step and draw two tokens."""
    options = EngineOptions(threads=2, max_batch=2, prefill_chunk=4, isa=isa)
    with Engine(weights, options) as engine:
        sequence = engine.submit([1, 2, 3, 1, 2], TokenSampling(params=SamplerParams(), max_tokens=2))
        for event in engine.stream(sequence):
            assert event.token_id is None or 0 <= event.token_id < weights.config.vocab_size


def open_as_a_user_would(folder: Path, entry: str, isa: str) -> None:
    """Read the containers, then load the model; the faults of files may stop either, nothing else may."""
    for container in folder.iterdir():
        if container.suffix in (".gguf", ".safetensors"):
            with suppress(TropillaError):
                read_file(container)
    with suppress(TropillaError):
        load_model(folder / entry, isa)
