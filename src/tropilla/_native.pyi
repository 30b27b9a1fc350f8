"""The compiled engine: kernels, forward pass, sampler."""

import enum
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

def __getattr__(name: str) -> Any: ...

# forward pass

KV_BLOCK_TOKENS: int

class KVType(enum.Enum):
    F16 = 0
    F32 = 1

class LlamaShape:
    dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    ffn_dim: int
    vocab_size: int
    norm_eps: float
    sliding_window: int
    tied_embeddings: bool
    qkv_bias: bool
    output_bias: bool
    mlp_bias: bool
    qk_norm: bool
    inv_freq: Sequence[float]
    attention_factor: float

class MemoryUse:
    @property
    def weights_bytes(self) -> int: ...
    @property
    def kv_bytes(self) -> int: ...
    @property
    def scratch_bytes(self) -> int: ...

class Llama:
    def __init__(
        self,
        shape: LlamaShape,
        *,
        max_tokens: int,
        max_logit_rows: int,
        n_kv_blocks: int,
        kv_type: KVType,
        n_threads: int,
        isa: str,
    ) -> None: ...
    def load(self, name: str, type: int, rows: int, cols: int, stored: bytes | memoryview) -> None: ...
    def missing_tensors(self) -> list[str]: ...
    def step(
        self,
        token_ids: Sequence[int],
        sequences: Sequence[tuple[int, int, Sequence[int]]],
        logit_rows: Sequence[int],
    ) -> bool: ...
    def sample(self, samplers: Sequence[Any]) -> list[Any]: ...
    def sample_one(self, row: int, sampler: Any) -> Any: ...
    def logits(self, row: int) -> NDArray[Any]: ...
    def logprobs(self, rows: Sequence[int], targets: Sequence[int]) -> list[float]: ...
    def sum_hidden(self, rows: Sequence[int]) -> list[float]: ...
    def cancel(self) -> None: ...
    def memory(self) -> MemoryUse: ...
    @property
    def isa(self) -> str: ...
    @property
    def n_threads(self) -> int: ...

# kernels

def isa_names() -> list[str]: ...
def isa() -> str: ...
def block_sizes() -> dict[int, tuple[int, int]]: ...
def call_kernel(isa: str, kernel: str, numbers: Sequence[float], arrays: Sequence[NDArray[Any]]) -> None: ...
