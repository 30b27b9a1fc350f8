"""Write models of well-known shapes with random weights: speed depends on shapes and types alone.

The codes are random bytes and the scales are chosen so that activations stay as large as a trained
model's; no quantizer runs, so that a 7B file takes as long as the disk does.

    python -m benchmarks.synthetic 1.1B Q4_K_M /tmp/1.1b-Q4_K_M.gguf
    python -m benchmarks.synthetic 1.1B Q4_0 /tmp/1.1b-Q4_0-49k.gguf --vocabulary SmolLM2.gguf
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import string
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tropilla.events import Saved
from tropilla.formats.checkpoint import Checkpoint, open_checkpoint
from tropilla.formats.dequantize import block_dtype, dequantize
from tropilla.formats.stored import StoredTensor
from tropilla.formats.tensor_types import BLOCKS, TensorType, tensor_bytes
from tropilla.formats.tensors import LazyTensor, Tensors
from tropilla.formats.tokenizer_source import GGUFVocabulary, TokenKind, TokenRoles
from tropilla.model.config import LLAMA_SIZES, LlamaConfig, tensor_shapes
from tropilla.quant.gguf_output import write_gguf
from tropilla.quant.target_types import Matrices, fitting_type, intended_type, type_by_name

SHAPES: Mapping[str, LlamaConfig] = {
    "7B": dataclasses.replace(LLAMA_SIZES["7B"], context_length=8192),
    "1.1B": LlamaConfig(
        dim=2048, n_layers=22, n_heads=32, n_kv_heads=4, head_dim=64, ffn_dim=5632,
        vocab_size=32000, context_length=8192,
    ),
    "135M": LlamaConfig(
        dim=576, n_layers=30, n_heads=9, n_kv_heads=3, head_dim=64, ffn_dim=1536,
        vocab_size=49152, context_length=8192, tied_embeddings=True,
    ),
}  # fmt: skip

# The types that quantizers mix: most matrices have the first, the more sensitive ones Q6_K.
_MIXTURES = ("Q4_K_M", "Q5_K_M")

_FLOATS: Mapping[TensorType, Callable[[NDArray[np.float32]], NDArray[np.generic]]] = {
    TensorType.F32: lambda x: x,
    TensorType.F16: lambda x: x.astype("<f2"),
    TensorType.BF16: lambda x: (x.view("<u4") >> 16).astype("<u2"),
}

# The block types, each with the minimum that centres its codes on zero, in units of the scale; None
# for those whose codes have a sign.
_BLOCKS: Mapping[TensorType, float | None] = {
    TensorType.Q4_0: None,
    TensorType.Q4_1: -7.5,
    TensorType.Q5_0: None,
    TensorType.Q5_1: -15.5,
    TensorType.Q8_0: None,
    TensorType.Q2_K: 1.5,
    TensorType.Q3_K: None,
    TensorType.Q4_K: 7.5,
    TensorType.Q5_K: 15.5,
    TensorType.Q6_K: None,
    TensorType.IQ4_NL: None,
    TensorType.IQ4_XS: None,
}


def mixture_names() -> list[str]:
    """Return what the type of a model may be called."""
    return [kind.name for kind in (*_FLOATS, *_BLOCKS)] + list(_MIXTURES)


def type_of(name: str, columns: int, mixture: str, config: LlamaConfig) -> TensorType:
    """Return a tensor's type in a model of this mixture, as llama.cpp's quantizer chooses it.

    The output matrix of 4- and 5-bit models is Q6_K, and in the "_M" mixtures so are the value and the
    down projection of some layers.
    """
    if "norm" in name:
        return TensorType.F32
    wanted = type_by_name(mixture) if mixture in _MIXTURES else TensorType[mixture]
    intended = intended_type(name, wanted, Matrices(config.n_layers, config.tied_embeddings))
    is_output = name == ("token_embd.weight" if config.tied_embeddings else "output.weight")
    if is_output and _is_finer(TensorType.Q6_K, intended):
        intended = TensorType.Q6_K
    return fitting_type(intended, columns)


def _is_finer(one: TensorType, other: TensorType) -> bool:
    return BLOCKS[other].columns > 1 and BLOCKS[other].bits_per_weight < BLOCKS[one].bits_per_weight


def write_synthetic(
    path: Path, config: LlamaConfig, mixture: str, *, vocabulary: Path | None = None, seed: int = 0
) -> int:
    """Write a model with random weights and return its size in bytes.

    vocabulary: a model file whose tokenizer and chat template the new one gets; otherwise it has
    pieces of up to three letters and bytes, as SentencePiece would store them.
    """
    with ExitStack() as stack:
        tokenizer, template = plain_vocabulary(config.vocab_size), None
        if vocabulary is not None:
            other = stack.enter_context(open_checkpoint(vocabulary))
            assert isinstance(other.tokenizer, GGUFVocabulary), "only a GGUF file's vocabulary can be copied"
            tokenizer, template = other.tokenizer, other.chat_template
            config = dataclasses.replace(config, vocab_size=len(tokenizer.pieces))
        weights = RandomWeights(np.random.default_rng(seed))
        layouts = {
            name: weights.tensor(name, type_of(name, shape[-1], mixture, config), shape)
            for name, shape in tensor_shapes(config).items()
        }
        checkpoint = Checkpoint(
            path=path,
            format="Hugging Face",  # so that all metadata is made, none copied
            architecture="llama",
            hyperparameters=dataclasses.asdict(config),
            tensors=Tensors(layouts),
            tokenizer=tokenizer,
            chat_template=template,
            metadata={"name": f"random {mixture}"},
            on_close=lambda: None,
        )
        saved = [event for event in write_gguf(checkpoint, path, None) if isinstance(event, Saved)]
    return saved[0].size_bytes


class RandomWeights:
    """Make tensors of random weights; those of one type and shape are equal, which helps no engine."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._made: dict[tuple[TensorType, tuple[int, ...]], NDArray[np.uint8]] = {}

    def tensor(self, name: str, kind: TensorType, shape: tuple[int, ...]) -> LazyTensor:
        """Return a tensor whose bytes are made when they are read; norms are all ones."""

        def read() -> StoredTensor:
            if (kind, shape) not in self._made:
                self._made[kind, shape] = self._bytes_of(kind, shape)
            return StoredTensor(name, kind, shape, self._made[kind, shape].data)

        return LazyTensor(kind, shape, read)

    def _bytes_of(self, kind: TensorType, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        if len(shape) == 1:
            return np.ones(shape, "<f4").view(np.uint8)
        return random_rows(kind, shape[0], shape[1], self._rng)


def random_rows(kind: TensorType, rows: int, columns: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return encoded rows whose weights vary by 1 / sqrt(columns), so that outputs are as large as inputs."""
    deviation = columns**-0.5
    if kind in _FLOATS:
        return _FLOATS[kind](deviation * rng.standard_normal(rows * columns, np.float32)).view(np.uint8)
    n_blocks = tensor_bytes(kind, (rows, columns)) // BLOCKS[kind].bytes
    blocks = np.frombuffer(rng.bytes(n_blocks * BLOCKS[kind].bytes), block_dtype(kind)).copy()
    _set_scales(blocks, kind, np.ones(n_blocks))
    sample = np.ascontiguousarray(blocks[:256])
    unscaled = dequantize(kind, sample.view(np.uint8).data, len(sample) * BLOCKS[kind].columns)
    _set_scales(blocks, kind, deviation / unscaled.std() * rng.uniform(0.7, 1.3, n_blocks))
    return blocks.view(np.uint8)


def _set_scales(blocks: NDArray[np.void], kind: TensorType, scales: NDArray[np.float64]) -> None:
    centre = _BLOCKS[kind]
    # Signed codes reach one further down than up: turning every other block round evens that out.
    blocks["d"] = scales * np.where(np.arange(len(blocks)) % 2, 1, -1) if centre is None else scales
    for field in {"m", "dmin"} & set(BLOCKS[kind].fields):
        assert centre is not None
        blocks[field] = scales * centre


def plain_vocabulary(size: int) -> GGUFVocabulary:
    """Return a SentencePiece vocabulary of a size: bytes, then the shortest strings of letters."""
    specials = ["<unk>", "<s>", "</s>"]
    byte_pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    letters = string.ascii_lowercase
    strings = ("".join(pair) for n in (1, 2, 3, 4) for pair in itertools.product("▁" + letters, repeat=n))
    texts = (text for text in strings if "▁" not in text[1:])
    pieces = list(itertools.islice(texts, max(0, size - len(specials) - len(byte_pieces))))
    kinds = [TokenKind.UNKNOWN, *[TokenKind.CONTROL] * 2, *[TokenKind.BYTE] * 256]
    every = [*specials, *byte_pieces, *pieces][:size]
    return GGUFVocabulary(
        path=Path("plain vocabulary"),
        model="llama",
        pre="default",
        pieces=every,
        scores=[-float(i) for i in range(len(every))],
        token_types=[int(kind) for kind in [*kinds, *[TokenKind.NORMAL] * len(pieces)][:size]],
        roles=TokenRoles(bos_id=1, eos_id=2, unk_id=0, add_bos=True, add_eos=False),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("type", choices=mixture_names(), metavar="TYPE", help=", ".join(mixture_names()))
    parser.add_argument("path", type=Path, help="the .gguf file to write")
    parser.add_argument("--vocabulary", type=Path, metavar="GGUF", help="copy this file's tokenizer")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    size = write_synthetic(
        args.path, SHAPES[args.shape], args.type, vocabulary=args.vocabulary, seed=args.seed
    )
    print(f"{args.path}: {size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
