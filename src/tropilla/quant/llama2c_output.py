"""Write a checkpoint as a llama2.c v0 file, with its tokenizer beside it."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from tropilla.errors import OptionError, UnsupportedError
from tropilla.events import Event, Notice, Saved
from tropilla.formats.atomic import new_file
from tropilla.formats.checkpoint import Checkpoint
from tropilla.formats.llama2c import HEADER, HEADER_FIELDS, NORM_EPS, ROPE_THETA, layout
from tropilla.formats.stored import StoredTensor
from tropilla.formats.tensor_types import TensorType
from tropilla.formats.tensors import LazyTensor, as_stored
from tropilla.formats.tokenizer_source import TokenizerSource, TokenKind
from tropilla.quant.gguf_vocabulary import gguf_vocabulary_of
from tropilla.quant.outputs import Output, stream
from tropilla.text.sentencepiece_model import META_SPACE

_FIXED: dict[str, object] = {
    "rope_theta": ROPE_THETA, "rope_scaling": None, "sliding_window": None,
    "qkv_bias": False, "output_bias": False, "mlp_bias": False, "qk_norm": False,
}  # fmt: skip


def write_llama2c(checkpoint: Checkpoint, destination: Path, wanted: TensorType | None) -> Iterator[Event]:
    """Write a v0 `.bin` file and `tok<vocabulary>.bin`, yielding events.

    Raises UnsupportedError for a model that llama2.c's program would compute differently.
    """
    if destination.suffix != ".bin" or wanted not in (None, TensorType.F32):
        raise OptionError(f"{destination}: a llama2.c file's name ends in .bin and its type is F32")
    header = _header(checkpoint)
    vocabulary = None
    if checkpoint.tokenizer is not None:
        vocabulary = _vocabulary_bytes(checkpoint.tokenizer, header["vocab_size"])
        _check_vocabulary_place(destination, header["vocab_size"], vocabulary)
    outputs = list(_outputs(checkpoint, header))
    tied = checkpoint.hyperparameters["tied_embeddings"]
    signed = header | {"vocab_size": header["vocab_size"] if tied else -header["vocab_size"]}
    with new_file(destination) as file:
        file.write(HEADER.pack(*signed.values()))
        yield from stream(_Plain(file.write), outputs, "converting")
    if vocabulary is None:
        yield Notice(text="the source has no tokenizer, so the result has none")
    else:
        with new_file(_vocabulary_place(destination, header["vocab_size"])) as file:
            file.write(vocabulary)
    yield Saved(path=destination, size_bytes=destination.stat().st_size)


def _vocabulary_place(destination: Path, vocab_size: int) -> Path:
    return destination.with_name(f"tok{vocab_size}.bin")


def _check_vocabulary_place(destination: Path, vocab_size: int, vocabulary: bytes) -> None:
    """Refuse to replace another model's vocabulary, which carries the same name beside the result."""
    place = _vocabulary_place(destination, vocab_size)
    if place == destination or (place.exists() and place.read_bytes() != vocabulary):
        raise OptionError(f"{place} is taken, but the vocabulary must lie there; choose another folder")


class _Plain:
    """Write tensors one after the other, without names."""

    def __init__(self, write: Callable[[memoryview], int]) -> None:
        self._write = write

    def write(self, name: str, data: memoryview) -> None:  # noqa: ARG002  # the order says which it is
        self._write(data)


def _header(checkpoint: Checkpoint) -> dict[str, int]:
    ours = checkpoint.hyperparameters
    wrong = [name for name, value in _FIXED.items() if ours.get(name) != value]
    norm_eps, dim, n_heads = ours["norm_eps"], ours["dim"], ours["n_heads"]
    assert isinstance(norm_eps, float)
    assert isinstance(dim, int)
    assert isinstance(n_heads, int)
    if not math.isclose(norm_eps, NORM_EPS, rel_tol=1e-6):  # GGUF files hold it as float32
        wrong.append("norm_eps")
    if ours["head_dim"] != dim // n_heads:
        wrong.append("head_dim")
    if wrong or "rope_freqs.weight" in checkpoint.tensors:
        what = ", ".join(f"{name}={ours.get(name)}" for name in wrong) or "rope factors"
        raise UnsupportedError(f"{checkpoint.path}: llama2.c cannot run a model with {what}")
    values = {name: ours[name] for name in HEADER_FIELDS}
    return {name: value for name, value in values.items() if isinstance(value, int)}


def _outputs(checkpoint: Checkpoint, header: dict[str, int]) -> Iterator[Output]:
    tables = iter(_rotation_tables(header))
    tied = checkpoint.hyperparameters["tied_embeddings"] is True
    for run in layout(header, tied=tied):
        for layer in range(header["n_layers"] if run.per_layer else 1):
            if run.name is None:
                yield Output("", TensorType.F32, next(tables))
            else:
                name = f"blk.{layer}.{run.name}" if run.per_layer else run.name
                yield Output(name, TensorType.F32, checkpoint.tensors.layouts[name])


def _rotation_tables(header: dict[str, int]) -> Iterator[LazyTensor]:
    """Yield the cosines and the sines (context, head_dim / 2) that old readers of the file expect."""
    half = header["dim"] // header["n_heads"] // 2
    shape = (header["context_length"], half)
    speeds = [ROPE_THETA ** (-i / half) for i in range(half)]
    for function in (math.cos, math.sin):
        values = (function(t * speed) for t in range(header["context_length"]) for speed in speeds)
        data = memoryview(struct.pack(f"<{shape[0] * half}f", *values))
        yield as_stored("", StoredTensor("", TensorType.F32, shape, data))


def _vocabulary_bytes(source: TokenizerSource, vocab_size: int) -> bytes:
    """Return the pieces in llama2.c's layout (tokenizer.py of that project)."""
    vocabulary = gguf_vocabulary_of(source, vocab_size)
    if vocabulary.model != "llama" or vocabulary.scores is None or vocabulary.token_types is None:
        raise UnsupportedError(f"{source.path}: llama2.c runs SentencePiece vocabularies, and this is none")
    entries = []
    for piece, score, kind in zip(vocabulary.pieces, vocabulary.scores, vocabulary.token_types, strict=True):
        text = piece.decode() if isinstance(piece, bytes) else piece
        is_end = kind == TokenKind.CONTROL and text in ("<s>", "</s>")
        text = f"\n{text}\n" if is_end else text.replace(META_SPACE, " ")
        entries.append((score, text.encode()))
    longest = max((len(text) for _, text in entries), default=0)
    lines = (struct.pack("<fi", score, len(text)) + text for score, text in entries)
    return struct.pack("<i", longest) + b"".join(lines)
