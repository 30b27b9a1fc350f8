from __future__ import annotations

import math

import pytest

from tropilla.errors import FormatError
from tropilla.model.config import LLAMA_SIZES, LlamaConfig, RopeScaling, rope_table

TINY = {"dim": 64, "n_layers": 2, "n_heads": 4, "ffn_dim": 96, "vocab_size": 100}


@pytest.mark.parametrize(
    ("size", "n_parameters", "ffn_dim"),
    [  # LLaMA paper, table 2 and the exact counts that follow from it
        ("7B", 6_738_415_616, 11008),
        ("13B", 13_015_864_320, 13824),
        ("33B", 32_528_943_616, 17920),
        ("65B", 65_285_660_672, 22016),
    ],
)
def test_paper_sizes_have_the_published_parameter_counts(size: str, n_parameters: int, ffn_dim: int) -> None:
    assert LLAMA_SIZES[size].n_parameters == n_parameters
    assert LLAMA_SIZES[size].ffn_dim == ffn_dim
    assert LLAMA_SIZES[size].head_dim == 128


def test_older_files_leave_out_what_follows_from_the_rest() -> None:
    config = LlamaConfig.from_hyperparameters(TINY, path="m.gguf")
    assert (config.n_kv_heads, config.head_dim, config.context_length) == (4, 16, 2048)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dim": None}, "does not say the model's dim"),
        ({"dim": 0}, "dim is 0"),
        ({"dim": 2**40}, "expected a whole number from 1 to"),
        ({"n_layers": "two"}, "n_layers is 'two'"),
        ({"n_layers": True}, "n_layers is True"),
        ({"n_heads": 0}, "n_heads is 0"),
        ({"n_kv_heads": 3}, "not a multiple of n_kv_heads=3"),
        ({"head_dim": 15}, "expected an even number"),
        ({"norm_eps": -1.0}, "norm_eps is -1.0"),
        ({"rope_theta": math.nan}, "rope_theta is nan"),
        ({"sliding_window": 0}, "sliding_window is 0"),
        ({"rope_scaling": RopeScaling(kind="linear", factor=0.0)}, "rope scaling factor is 0.0"),
        ({"rope_scaling": RopeScaling(kind="yarn", factor=2.0)}, "needs the original context length"),
    ],
)
def test_bad_hyperparameters_name_the_file_and_the_value(change: dict[str, object], words: str) -> None:
    with pytest.raises(FormatError, match=r"m\.gguf") as caught:
        LlamaConfig.from_hyperparameters({**TINY, **change}, path="m.gguf")
    assert words in str(caught.value)


def test_kv_bytes_per_token_of_7b_in_f16_is_half_a_mebibyte() -> None:
    # 2 (k, v) * 32 layers * 4096 * 2 bytes
    assert LLAMA_SIZES["7B"].kv_bytes_per_token() == 512 * 1024


def test_linear_scaling_divides_every_speed() -> None:
    plain = LlamaConfig.from_hyperparameters(TINY, path="")
    scaled = LlamaConfig.from_hyperparameters(
        {**TINY, "rope_scaling": RopeScaling(kind="linear", factor=4.0)}, path=""
    )
    assert rope_table(scaled).inv_freq == tuple(f / 4 for f in rope_table(plain).inv_freq)


def test_factors_of_the_file_replace_the_scaling_of_the_config() -> None:
    config = LlamaConfig.from_hyperparameters(TINY, path="")
    factors = (1.0, 1.0, 2.0, 2.0, 4.0, 8.0, 8.0, 8.0)
    plain = rope_table(config).inv_freq
    assert rope_table(config, factors).inv_freq == tuple(f / by for f, by in zip(plain, factors, strict=True))


def test_scaling_comes_as_a_mapping_from_files() -> None:
    scaling = {"kind": "linear", "factor": 4.0}
    config = LlamaConfig.from_hyperparameters(TINY | {"rope_scaling": scaling}, path="m.gguf")
    assert config.rope_scaling == RopeScaling(kind="linear", factor=4.0)
    with pytest.raises(FormatError, match="original context"):
        LlamaConfig.from_hyperparameters(
            TINY | {"rope_scaling": {"kind": "yarn", "factor": 4.0}}, path="m.gguf"
        )
