"""The compiled engine: kernels, forward pass, sampler, quantizer."""

import enum
from collections.abc import Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

# forward pass

KV_BLOCK_TOKENS: int
KV_GROUP: int

def content_hash(data: bytes | memoryview) -> int:
    """Return 64 bits that tell large contents apart, at the speed of memory."""

class KVType(enum.Enum):
    F16 = 0
    F32 = 1
    Q8_0 = 2
    Q4_0 = 3

def kv_block_bytes(type: KVType, head_dim: int) -> int: ...

class LlamaShape:
    def __init__(self) -> None: ...
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
    @property
    def inv_freq(self) -> list[float]: ...
    @inv_freq.setter
    def inv_freq(self, arg: Sequence[float], /) -> None: ...
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
    def load(self, tensors: Sequence[tuple[str, int, int, int, bytes | memoryview]]) -> None: ...
    def missing_tensors(self) -> list[str]: ...
    def step(
        self,
        token_ids: Sequence[int],
        sequences: Sequence[tuple[int, int, Sequence[int]]],
        logit_rows: Sequence[int],
    ) -> bool: ...
    def draw(self, sequences: Sequence[tuple[Sampler, Sequence[int]]]) -> list[tuple[list[Draw], bool]]: ...
    def sample_one(self, row: int, sampler: Sampler) -> Draw: ...
    def logits(self, row: int) -> NDArray[np.float32]: ...
    def logprobs(self, rows: Sequence[int], targets: Sequence[int]) -> list[float]: ...
    def sum_hidden(self, rows: Sequence[int]) -> list[float]: ...
    def read_kv_block(self, block: int) -> bytes: ...
    def write_kv_block(self, block: int, data: bytes) -> None: ...
    def cancel(self) -> None: ...
    def memory(self) -> MemoryUse: ...
    @property
    def isa(self) -> str: ...
    @property
    def n_threads(self) -> int: ...

# sampler

class SamplerParams:
    @overload
    def __init__(self) -> None: ...
    @overload
    def __init__(self, other: SamplerParams) -> None: ...
    seed: int
    @property
    def samplers(self) -> list[str] | None: ...
    @samplers.setter
    def samplers(self, arg: Sequence[str] | None, /) -> None: ...
    logprobs: int | None
    post_sampling_probs: bool
    @property
    def logit_bias(self) -> list[tuple[int, float]]: ...
    @logit_bias.setter
    def logit_bias(self, arg: Sequence[tuple[int, float]], /) -> None: ...
    @property
    def banned_tokens(self) -> list[int]: ...
    @banned_tokens.setter
    def banned_tokens(self, arg: Sequence[int], /) -> None: ...
    @property
    def allowed_token_ids(self) -> list[int]: ...
    @allowed_token_ids.setter
    def allowed_token_ids(self, arg: Sequence[int], /) -> None: ...
    @property
    def end_ids(self) -> list[int]: ...
    @end_ids.setter
    def end_ids(self, arg: Sequence[int], /) -> None: ...
    @property
    def stop_token_ids(self) -> list[int]: ...
    @stop_token_ids.setter
    def stop_token_ids(self, arg: Sequence[int], /) -> None: ...
    ignore_eos: bool
    min_tokens: int
    repetition_penalty: float
    repetition_window: int
    repetition_slope: float
    repetition_decay: int
    frequency_penalty: float
    presence_penalty: float
    penalize_prompt: bool
    encoder_repetition_penalty: float
    no_repeat_ngram: int
    dry_multiplier: float
    dry_base: float
    dry_allowed_length: int
    dry_range: int
    @property
    def dry_breakers(self) -> list[list[int]]: ...
    @dry_breakers.setter
    def dry_breakers(self, arg: Sequence[Sequence[int]], /) -> None: ...
    top_n_sigma: float
    top_k: int
    typical_p: float
    top_p: float
    min_p: float
    top_a: float
    tail_free: float
    epsilon_cutoff: float
    eta_cutoff: float
    xtc_probability: float
    xtc_threshold: float
    temperature: float
    dynamic_temperature_range: float
    dynamic_temperature_exponent: float
    smoothing_factor: float
    smoothing_curve: float
    mirostat: int
    mirostat_tau: float
    mirostat_eta: float
    mirostat_m: int
    adaptive_target: float
    adaptive_decay: float
    skew: float

class Draw:
    @property
    def token(self) -> int: ...
    @property
    def logprob(self) -> float | None: ...
    @property
    def top(self) -> list[tuple[int, float]]: ...

class Sampler:
    @overload
    def __init__(self, params: SamplerParams, vocab_size: int, prompt_ids: Sequence[int]) -> None: ...
    @overload
    def __init__(self, other: Sampler) -> None: ...
    def sample(self, logits: NDArray[np.float32]) -> Draw: ...
    def probabilities(self, logits: NDArray[np.float32]) -> list[tuple[int, float]]: ...
    def accept(self, token: int) -> None: ...
    def rewind(self, n_tokens: int) -> None: ...
    def ban_next(self, ids: Sequence[int]) -> None: ...

def philox_4x32_10(counter: Sequence[int], key: Sequence[int]) -> list[int]: ...
def sampler_names() -> list[str]: ...

# speculation

class NgramIndex:
    def __init__(self) -> None: ...
    def extend(self, tokens: Sequence[int]) -> int: ...
    def rewind(self, n_tokens: int) -> None: ...
    def match(self) -> int: ...
    def following(self, most: int) -> list[int]: ...
    def __len__(self) -> int: ...

# kernels

def isa_names() -> list[str]: ...
def isa() -> str: ...
def block_sizes() -> dict[int, tuple[int, int]]: ...
def matmul_scratch_bytes(n_cols: int) -> int: ...
def call_kernel(
    isa: str, kernel: str, numbers: Sequence[float], arrays: Sequence[NDArray[np.generic]]
) -> None: ...

# limits of the machine

def read_bandwidth(n_threads: int, size_bytes: int, seconds: float) -> list[float]: ...
def int8_peak(isa: str, n_threads: int) -> float: ...

# quantizer

class Encoding(enum.Enum):
    OK = 0
    NOT_FINITE = 1
    TOO_LARGE = 2

def quantize(
    from_type: int,
    stored: bytes | memoryview,
    to_type: int,
    n_weights: int,
    out: bytearray | memoryview,
    isa: str,
) -> Encoding: ...
