"""Run steps on the CPU: the thin layer between the scheduler and the compiled forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tropilla import _native
from tropilla._native import Draw, MemoryUse, Sampler
from tropilla.engine.scheduler import Span
from tropilla.errors import CapacityError, OptionError, UnsupportedError
from tropilla.formats.stored import StoredTensor
from tropilla.model.config import LlamaConfig, rope_table
from tropilla.model.weights import ModelWeights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK_TOKENS: int = _native.KV_BLOCK_TOKENS
KV_TYPES = tuple(name.lower() for name in _native.KVType.__members__)
# What is packed in one native call: little beside the memory that a small model needs anyway.
_GROUP_BYTES = 16 << 20


class CPUExecutor:
    """Hold a model's packed weights, its key-value cache and its threads.

    Only cancel() may be called while another call runs. Python's global lock is free during step(),
    draw() and score().
    """

    def __init__(
        self,
        weights: ModelWeights,
        *,
        max_tokens: int,
        max_logit_rows: int,
        n_kv_blocks: int,
        n_threads: int,
        kv_type: str = "f16",
        isa: str | None = None,
    ) -> None:
        """Load all weights; each tensor's pages in the file are given back once it is packed.

        Raises CapacityError where memory runs out, UnsupportedError for a tensor type or an
        instruction set without kernels.
        """
        _check_isa(isa)
        kv_bytes = n_kv_blocks * kv_block_bytes(weights.config, kv_type)
        try:
            self._model = _native.Llama(
                native_shape(weights),
                max_tokens=max_tokens,
                max_logit_rows=max_logit_rows,
                n_kv_blocks=n_kv_blocks,
                kv_type=_native.KVType[kv_type.upper()],
                n_threads=n_threads,
                isa=isa or "",
            )
            _load_all(self._model, weights)
        except MemoryError:
            needed = kv_bytes + sum(tensor.size_bytes for tensor in weights.tensors.values())
            raise CapacityError(
                f"the model and its cache need {needed / 1e9:.1f} GB, more than this machine gives; "
                "choose a smaller model, a type with fewer bits or a smaller context_length",
                needed=needed,
                available=0,
            ) from None
        except RuntimeError as error:
            raise UnsupportedError(str(error)) from None

    @property
    def isa(self) -> str:
        """Return the name of the instruction set whose kernels run."""
        return self._model.isa

    @property
    def n_threads(self) -> int:
        """Return how many threads compute."""
        return self._model.n_threads

    @property
    def memory(self) -> MemoryUse:
        """Return the bytes of weights, cache and scratch; pages not yet touched are not resident."""
        return self._model.memory()

    def step(self, spans: Sequence[Span], logit_rows: Sequence[int]) -> bool:
        """Compute the spans' tokens; False if cancel() cut the step short, so that it must be redone.

        logit_rows: the tokens, counted through all spans, that draw() will draw after.
        """
        token_ids = [token_id for span in spans for token_id in span.token_ids]
        sequences = [(span.n_tokens, span.start, span.sequence.blocks) for span in spans]
        return self._model.step(token_ids, sequences, logit_rows)

    def draw(self, sequences: Sequence[tuple[Sampler, Sequence[int]]]) -> list[tuple[list[Draw], bool]]:
        """Draw for sequences, each with the tokens proposed for it, on all threads; samplers accept draws.

        The last step's rows are theirs in order: one, and one more for each proposed token. A sequence
        draws after row upon row until a draw is not the token proposed. With each one's draws comes
        whether its sampler failed after them; sample_one() then raises its error.
        """
        return self._model.draw(sequences)

    def sample_one(self, row: int, sampler: Sampler) -> Draw:
        """Draw after one row of the last step. Raises what the sampler raises."""
        return self._model.sample_one(row, sampler)

    def logits(self, row: int) -> NDArray[np.float32]:
        """Return a copy of one row of the last step's logits, (vocab_size), for tests and tools."""
        return self._model.logits(row)

    def score(self, rows: Sequence[int], targets: Sequence[int]) -> list[float]:
        """Return log p of targets[i] after token rows[i] of the last step; ends its logits."""
        return self._model.logprobs(rows, targets)

    def sum_hidden(self, rows: Sequence[int]) -> list[float]:
        """Return the sum of the last layer's normed output at tokens of the last step, (dim)."""
        return self._model.sum_hidden(rows)

    def read_block(self, block: int) -> bytes:
        """Return a copy of the keys and values of a block."""
        return self._model.read_kv_block(block)

    def write_block(self, block: int, content: bytes) -> bool:
        """Fill a block with what read_block() returned; False if the length is not a block's."""
        try:
            self._model.write_kv_block(block, content)
        except ValueError:
            return False
        return True

    def cancel(self) -> None:
        """Make the step under way, or else the next one, return False soon."""
        self._model.cancel()


def kv_block_bytes(config: LlamaConfig, kv_type: str) -> int:
    """Return how much of the cache BLOCK_TOKENS tokens take.

    Raises OptionError where heads cannot be quantized.
    """
    if kv_type.startswith("q") and config.head_dim % _native.KV_GROUP:
        raise OptionError(
            f"kv_type {kv_type} needs heads of a multiple of {_native.KV_GROUP} values, but this model's "
            f"have {config.head_dim}; choose f16 or f32"
        )
    heads = config.n_layers * config.n_kv_heads
    return heads * _native.kv_block_bytes(_native.KVType[kv_type.upper()], config.head_dim)


def _check_isa(isa: str | None) -> None:
    names = _native.isa_names()
    if isa is not None and isa not in names:
        raise UnsupportedError(
            f"kernels named {isa!r} do not run on this machine; choose one of {', '.join(names)}"
        )


def native_shape(weights: ModelWeights) -> _native.LlamaShape:
    """Return the shape of a model as the forward pass takes it."""
    config: LlamaConfig = weights.config
    table = rope_table(config, weights.rope_factors())
    shape = _native.LlamaShape()
    for name in (
        "dim",
        "n_layers",
        "n_heads",
        "n_kv_heads",
        "head_dim",
        "ffn_dim",
        "vocab_size",
        "norm_eps",
        "tied_embeddings",
        "qkv_bias",
        "output_bias",
        "mlp_bias",
        "qk_norm",
    ):
        setattr(shape, name, getattr(config, name))
    shape.sliding_window = config.sliding_window or 0
    shape.inv_freq = table.inv_freq
    shape.attention_factor = table.attention_factor
    return shape


def _load_all(model: _native.Llama, weights: ModelWeights) -> None:
    # The largest first, while little is packed: a tensor and its copy are in memory at the same time.
    names = sorted(model.missing_tensors(), key=lambda name: -weights.tensors[name].size_bytes)
    tensors = [weights.tensors[name] for name in names]
    for group in _groups(tensors):
        _load(model, group)
    # Systems map some pages around each that is read, also of tensors given back before.
    for tensor in tensors:
        tensor.release()


def _groups(tensors: Sequence[StoredTensor]) -> Iterator[list[StoredTensor]]:
    """Yield the tensors in order, several at a time unless one is large."""
    group: list[StoredTensor] = []
    for tensor in tensors:
        if group and sum(member.size_bytes for member in group) + tensor.size_bytes > _GROUP_BYTES:
            yield group
            group = []
        group.append(tensor)
    if group:
        yield group


def _load(model: _native.Llama, tensors: Sequence[StoredTensor]) -> None:
    try:
        model.load([_native_tensor(tensor) for tensor in tensors])
    except ValueError as error:
        failed = next(tensor for tensor in tensors if tensor.name in model.missing_tensors())
        raise UnsupportedError(
            f"cannot run {failed.name} of type {failed.type.name}: {error}; "
            "convert the model to another type with tropilla quantize"
        ) from None
    for tensor in tensors:
        tensor.release()


def _native_tensor(tensor: StoredTensor) -> tuple[str, int, int, int, memoryview]:
    rows, cols = (1, *tensor.shape) if len(tensor.shape) == 1 else tensor.shape
    return tensor.name, int(tensor.type), rows, cols, tensor.data
