"""What distinguishes one LLaMA-family model from another, as data.

Importing this module costs no array library: the terminal and the server start through it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from tropilla.errors import FormatError
from tropilla.formats.traits import LARGEST


@dataclass(frozen=True, kw_only=True, slots=True)
class RopeScaling:
    """Say how rotary frequencies are stretched beyond the context that the model was trained on.

    linear: all by factor (Chen et al. 2023). yarn: low frequencies by factor, high ones not, with a
    ramp between beta_fast and beta_slow rotations (Peng et al. 2023). llama3: likewise by wavelength,
    between original_context_length / high_freq_factor and / low_freq_factor (Llama 3.1).
    """

    kind: Literal["linear", "yarn", "llama3"]
    factor: float
    original_context_length: int = 0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float | None = None  # None: the kind's own rule


class RopeTable(NamedTuple):
    """Rotation speeds in radians per position, (head_dim / 2), and the factor on cos and sin."""

    inv_freq: tuple[float, ...]
    attention_factor: float


@dataclass(frozen=True, kw_only=True, slots=True)
class LlamaConfig:
    """Describe the shape of a LLaMA-family decoder; the weights are named as in GGUF files."""

    dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    ffn_dim: int
    vocab_size: int
    context_length: int
    norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    rope_scaling: RopeScaling | None = None
    tied_embeddings: bool = False
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    sliding_window: int | None = None  # a token sees this many positions, itself included

    def __post_init__(self) -> None:
        for problem in _problems(self):
            raise ValueError(problem)

    @classmethod
    def from_hyperparameters(cls, values: Mapping[str, Any], *, path: str) -> LlamaConfig:
        """Build a config from a file's hyperparameters, filling in what older files leave out.

        Any: the values come from a file and are checked here. Raises FormatError naming path.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        given = {key: value for key, value in values.items() if key in known and value is not None}
        missing = [key for key in ("dim", "n_layers", "n_heads", "ffn_dim", "vocab_size") if key not in given]
        if missing:
            raise FormatError(path, f"does not say the model's {', '.join(missing)}")
        if not (isinstance(given["n_heads"], int) and given["n_heads"] > 0):
            raise FormatError(path, f"n_heads is {given['n_heads']!r}, expected a positive whole number")
        given.setdefault("n_kv_heads", given["n_heads"])
        given.setdefault("head_dim", given["dim"] // given["n_heads"])
        given.setdefault("context_length", 2048)
        try:
            if isinstance(given.get("rope_scaling"), Mapping):
                given["rope_scaling"] = RopeScaling(**given["rope_scaling"])
            return cls(**given)
        except (TypeError, ValueError) as error:
            raise FormatError(path, str(error)) from error

    @property
    def q_dim(self) -> int:
        """Return the width of all query heads together."""
        return self.n_heads * self.head_dim

    @property
    def kv_dim(self) -> int:
        """Return the width of all key heads together."""
        return self.n_kv_heads * self.head_dim

    @property
    def n_parameters(self) -> int:
        """Return the number of trained weights."""
        return sum(math.prod(shape) for shape in tensor_shapes(self).values())

    def kv_bytes_per_token(self, bytes_per_value: int = 2) -> int:
        """Return how much the key-value cache grows with each token, in bytes."""
        return 2 * self.n_layers * self.kv_dim * bytes_per_value


def _problems(config: LlamaConfig) -> list[str]:
    """Return what is wrong with a config, the gravest first."""
    problems = []
    for name, largest in LARGEST.items():
        value = getattr(config, name)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= largest:
            problems.append(f"{name} is {value!r}, expected a whole number from 1 to {largest}")
    if problems:
        return problems
    if config.n_heads % config.n_kv_heads:
        problems.append(
            f"n_heads={config.n_heads} is not a multiple of n_kv_heads={config.n_kv_heads}, "
            "so heads cannot share keys evenly"
        )
    if config.head_dim % 2:
        problems.append(f"head_dim is {config.head_dim}, expected an even number for rotary pairs")
    for name in ("norm_eps", "rope_theta"):
        value = getattr(config, name)
        if not (isinstance(value, float | int) and math.isfinite(value) and value > 0):
            problems.append(f"{name} is {value!r}, expected a positive number")
    if config.sliding_window is not None and config.sliding_window < 1:
        problems.append(f"sliding_window is {config.sliding_window}, expected at least 1")
    scaling = config.rope_scaling
    if scaling is not None and not (math.isfinite(scaling.factor) and scaling.factor > 0):
        problems.append(f"the rope scaling factor is {scaling.factor}, expected a positive number")
    if scaling is not None and scaling.kind != "linear" and scaling.original_context_length < 1:
        problems.append(f"rope scaling {scaling.kind} needs the original context length")
    return problems


def tensor_shapes(config: LlamaConfig) -> dict[str, tuple[int, ...]]:
    """Return the name and shape (rows = outputs, columns = inputs) of every weight of the model."""
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (config.vocab_size, config.dim)}
    for layer in range(config.n_layers):
        shapes.update({f"blk.{layer}.{name}": shape for name, shape in layer_shapes(config).items()})
    shapes["output_norm.weight"] = (config.dim,)
    if not config.tied_embeddings:
        shapes["output.weight"] = (config.vocab_size, config.dim)
    return shapes


def layer_shapes(config: LlamaConfig) -> dict[str, tuple[int, ...]]:
    """Return the name within the layer and the shape of every weight of one layer."""
    dim, q_dim, kv_dim, ffn_dim = config.dim, config.q_dim, config.kv_dim, config.ffn_dim
    shapes: dict[str, tuple[int, ...]] = {
        "attn_norm.weight": (dim,),
        "attn_q.weight": (q_dim, dim),
        "attn_k.weight": (kv_dim, dim),
        "attn_v.weight": (kv_dim, dim),
        "attn_output.weight": (dim, q_dim),
        "ffn_norm.weight": (dim,),
        "ffn_gate.weight": (ffn_dim, dim),
        "ffn_up.weight": (ffn_dim, dim),
        "ffn_down.weight": (dim, ffn_dim),
    }
    if config.qkv_bias:
        shapes |= {"attn_q.bias": (q_dim,), "attn_k.bias": (kv_dim,), "attn_v.bias": (kv_dim,)}
    if config.output_bias:
        shapes |= {"attn_output.bias": (dim,)}
    if config.mlp_bias:
        shapes |= {"ffn_gate.bias": (ffn_dim,), "ffn_up.bias": (ffn_dim,), "ffn_down.bias": (dim,)}
    if config.qk_norm:
        shapes |= {"attn_q_norm.weight": (config.head_dim,), "attn_k_norm.weight": (config.head_dim,)}
    return shapes


def rope_table(config: LlamaConfig, factors: tuple[float, ...] | None = None) -> RopeTable:
    """Compute the rotary table; factors, where a file holds them, divide the speeds one by one.

    factors: (head_dim / 2), the tensor rope_freqs.weight of Llama-3 GGUF files, which replaces
    the llama3 scaling of the config.
    """
    half = config.head_dim // 2
    plain = [config.rope_theta ** (-i / half) for i in range(half)]
    if factors is not None:
        return RopeTable(tuple(f / by for f, by in zip(plain, factors, strict=True)), 1.0)
    scaling = config.rope_scaling
    if scaling is None:
        return RopeTable(tuple(plain), 1.0)
    if scaling.kind == "linear":
        return RopeTable(tuple(f / scaling.factor for f in plain), scaling.attention_factor or 1.0)
    if scaling.kind == "llama3":
        return RopeTable(tuple(_llama3_speed(f, scaling) for f in plain), scaling.attention_factor or 1.0)
    return _yarn_table(plain, config, scaling)


def _llama3_speed(speed: float, scaling: RopeScaling) -> float:
    rotations = scaling.original_context_length * speed / (2 * math.pi)
    if rotations > scaling.high_freq_factor:
        return speed
    if rotations < scaling.low_freq_factor:
        return speed / scaling.factor
    kept = (rotations - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    return (1 - kept) * speed / scaling.factor + kept * speed


def _yarn_table(plain: list[float], config: LlamaConfig, scaling: RopeScaling) -> RopeTable:
    def pair_with(rotations: float) -> float:
        """Return the index of the pair that turns this often within the original context."""
        ratio = scaling.original_context_length / (rotations * 2 * math.pi)
        return config.head_dim * math.log(ratio) / (2 * math.log(config.rope_theta))

    low = max(math.floor(pair_with(scaling.beta_fast)), 0)
    high = min(math.ceil(pair_with(scaling.beta_slow)), config.head_dim - 1)
    width = max(high - low, 0.001)  # a ramp of no width would divide by zero
    speeds = []
    for i, speed in enumerate(plain):
        stretched = min(max((i - low) / width, 0.0), 1.0)
        speeds.append(stretched * speed / scaling.factor + (1 - stretched) * speed)
    own = 0.1 * math.log(scaling.factor) + 1.0 if scaling.factor > 1 else 1.0
    return RopeTable(tuple(speeds), own if scaling.attention_factor is None else scaling.attention_factor)


def _llama(dim: int, n_heads: int, n_layers: int, ffn_dim: int) -> LlamaConfig:
    return LlamaConfig(
        dim=dim,
        n_layers=n_layers,
        n_heads=n_heads,
        n_kv_heads=n_heads,
        head_dim=dim // n_heads,
        ffn_dim=ffn_dim,
        vocab_size=32000,
        context_length=2048,
        norm_eps=1e-6,
    )


def llama_ffn_dim(dim: int, multiple_of: int = 256) -> int:
    """Return the SwiGLU width of the LLaMA paper: two thirds of 4 dim, rounded up to a multiple."""
    return -(-int(2 * 4 * dim / 3) // multiple_of) * multiple_of


# The four models of the LLaMA paper (Touvron et al. 2023, table 2).
LLAMA_SIZES: Mapping[str, LlamaConfig] = {
    "7B": _llama(4096, 32, 32, llama_ffn_dim(4096)),
    "13B": _llama(5120, 40, 40, llama_ffn_dim(5120)),
    "33B": _llama(6656, 52, 60, llama_ffn_dim(6656)),
    "65B": _llama(8192, 64, 80, llama_ffn_dim(8192)),
}
