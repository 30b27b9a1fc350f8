"""Conversion among the four formats: no weight changes, and other programs agree on what was written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch

from tests.formats.test_gguf_checkpoint import SHAPES, weights, write
from tests.formats.test_huggingface import FAMILIES, LLAMA3, save
from tropilla.errors import OptionError, TropillaError, UnsupportedError
from tropilla.events import Event, Saved
from tropilla.formats.checkpoint import Checkpoint, open_checkpoint
from tropilla.quant.convert import Target, convert

NAMES = {"gguf": "m.gguf", "huggingface": "hf", "meta": "meta", "llama2c": "m.bin"}
PLAIN = ("gguf", "huggingface", "meta")


def run(source: Path, destination: Path, to: str | None = None, **options: Any) -> list[Event]:
    events = list(convert(source, destination, to=to, **options))  # type: ignore[arg-type]  # names from NAMES
    assert isinstance(events[-1], Saved)
    assert events[-1].path == destination
    return events


def same_model(ours: Checkpoint, theirs: Checkpoint) -> None:
    """Hold two checkpoints against each other: hyperparameters, and weights bit for bit."""
    skipped = {"norm_eps", "rope_theta"}  # float32 in GGUF, decimal in JSON
    for name, value in theirs.hyperparameters.items():
        if name not in skipped:
            assert ours.hyperparameters.get(name) == value, name
    for name in skipped:
        assert ours.hyperparameters[name] == pytest.approx(theirs.hyperparameters[name], rel=1e-7)
    assert set(ours.tensors) == set(theirs.tensors)
    for name in theirs.tensors:
        expected = theirs.tensors[name].to_float32()
        np.testing.assert_array_equal(ours.tensors[name].to_float32(), expected, err_msg=name)


@pytest.mark.parametrize(("family", "config"), FAMILIES)
def test_there_and_back(tmp_path: Path, family: str, config: dict[str, Any]) -> None:
    save(tmp_path / "source", family, **config)
    run(tmp_path / "source", tmp_path / "m.gguf")
    run(tmp_path / "m.gguf", tmp_path / "back")
    with open_checkpoint(tmp_path / "source") as source:
        for path in (tmp_path / "m.gguf", tmp_path / "back"):
            with open_checkpoint(path) as model:
                same_model(model, source)


@pytest.mark.parametrize("first", PLAIN)
@pytest.mark.parametrize("second", PLAIN)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_stay(tmp_path: Path, first: str, second: str, dtype: torch.dtype) -> None:
    save(tmp_path / "source", "Llama", dtype=dtype)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    run(tmp_path / "source", tmp_path / "a" / NAMES[first], first)
    run(tmp_path / "a" / NAMES[first], tmp_path / "b" / NAMES[second], second)
    with (
        open_checkpoint(tmp_path / "source") as source,
        open_checkpoint(tmp_path / "b" / NAMES[second]) as last,
    ):
        for name, layout in source.tensors.layouts.items():
            if len(layout.shape) == 2:
                assert last.tensors.layouts[name].type is layout.type
        same_model(last, source)


@pytest.mark.parametrize(
    ("family", "config"),
    [*FAMILIES, ("Llama", {"rope_parameters": LLAMA3 | {"rope_theta": 5e5}}),
     ("Llama", {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}),
     ("Llama", {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4,
                                    "original_max_position_embeddings": 16}})],
)  # fmt: skip
def test_transformers_computes_the_same_from_our_folder(
    tmp_path: Path, family: str, config: dict[str, Any]
) -> None:
    """Through GGUF and back, so that every permutation and rope rule is undone once."""
    import transformers

    save(tmp_path / "source", family, **config)
    scaling = config.get("rope_parameters", {}).get("rope_type")
    if scaling == "llama3":  # its factors are a tensor in GGUF, which only released rules come back from
        run(tmp_path / "source", tmp_path / "back", "huggingface")
    else:
        run(tmp_path / "source", tmp_path / "m.gguf")
        run(tmp_path / "m.gguf", tmp_path / "back")
    ids = torch.arange(40)[None] % 50
    logits = []
    for folder in ("source", "back"):
        model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / folder)
        assert type(model).__name__ == f"{family}ForCausalLM"
        with torch.no_grad():
            logits.append(model(ids).logits)
    # The same code on the same weights; GGUF holds eps and theta as float32, one part in 1.7e7 off.
    torch.testing.assert_close(logits[1], logits[0], rtol=1e-4, atol=1e-4)
    assert logits[0].std() > 0.1


def test_llama3_factors(tmp_path: Path) -> None:
    """The released rule goes through GGUF's tensor of factors and comes back as the rule."""
    rule = LLAMA3 | {"original_max_position_embeddings": 8192, "rope_theta": 5e5}
    save(tmp_path / "source", rope_parameters=rule, head_dim=64, max_position_embeddings=131072)
    run(tmp_path / "source", tmp_path / "m.gguf")
    factors = next(t for t in gguf.GGUFReader(tmp_path / "m.gguf").tensors if t.name == "rope_freqs.weight")
    # Written out from the Llama 3.1 release: long waves by the factor, short ones not, a ramp between.
    speeds = 5e5 ** (-np.arange(32) / 32)
    waves = 2 * np.pi / speeds
    smooth = (8192 / waves - 1) / (4 - 1)
    ramp = 1 / ((1 - smooth) / 8 + smooth)
    expected = np.where(waves < 8192 / 4, 1, np.where(waves > 8192, 8, ramp))
    np.testing.assert_allclose(factors.data, expected, rtol=1e-6)
    for to in ("huggingface", "meta"):
        run(tmp_path / "m.gguf", tmp_path / to, to)
        with open_checkpoint(tmp_path / to) as model:
            assert model.hyperparameters["rope_scaling"] == {
                "kind": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_context_length": 8192,
            }  # fmt: skip


def test_the_gguf_package_reads_our_gguf(tmp_path: Path) -> None:
    state = save(tmp_path / "source", "Qwen2")
    run(tmp_path / "source", tmp_path / "m.gguf")
    reader = gguf.GGUFReader(tmp_path / "m.gguf")
    read = {tensor.name: tensor for tensor in reader.tensors}
    # A qwen2 file keeps Hugging Face's order of rows, so the package sees the source's own bytes.
    for ours, theirs in {
        "blk.0.attn_q.weight": "model.layers.0.self_attn.q_proj.weight",
        "blk.1.attn_k.bias": "model.layers.1.self_attn.k_proj.bias",
        "blk.1.ffn_down.weight": "model.layers.1.mlp.down_proj.weight",
    }.items():
        np.testing.assert_array_equal(read[ours].data.reshape(state[theirs].shape), state[theirs].numpy())
    stated = {
        "general.architecture": "qwen2", "qwen2.block_count": 2, "qwen2.embedding_length": 32,
        "qwen2.attention.head_count": 4, "qwen2.attention.head_count_kv": 2, "qwen2.context_length": 64,
        "qwen2.feed_forward_length": 48, "qwen2.rope.freq_base": 10000.0, "general.file_type": 0,
    }  # fmt: skip
    assert {key: reader.fields[key].contents() for key in stated} == stated


def test_torch_reads_our_archive(tmp_path: Path) -> None:
    save(tmp_path / "source", "Llama", tie_word_embeddings=True)
    run(tmp_path / "source", tmp_path / "meta", "meta")
    content = torch.load(tmp_path / "meta" / "consolidated.00.pth", weights_only=True)
    with open_checkpoint(tmp_path / "source") as model:
        expected = model.tensors["blk.1.attn_q.weight"].to_float32()
        np.testing.assert_array_equal(content["layers.1.attention.wq.weight"].numpy(), expected)
        embedding = model.tensors["token_embd.weight"].to_float32()
    # Meta's code has no shared output.
    for name in ("tok_embeddings.weight", "output.weight"):
        np.testing.assert_array_equal(content[name].numpy(), embedding)


def meta_ffn_dim(dim: int, params: dict[str, Any]) -> int:
    """The arithmetic of FeedForward in Meta's llama/model.py."""
    hidden = int(2 * (4 * dim) / 3)
    if params.get("ffn_dim_multiplier") is not None:
        hidden = int(params["ffn_dim_multiplier"] * hidden)
    multiple_of: int = params["multiple_of"]
    return multiple_of * ((hidden + multiple_of - 1) // multiple_of)


@pytest.mark.parametrize(
    ("dim", "ffn_dim"),
    [
        (4096, 11008),
        (5120, 13824),
        (6656, 17920),
        (8192, 22016),
        (4096, 14336),
        (2048, 8192),
        (576, 1536),
        (32, 7),
    ],
)  # fmt: skip
def test_metas_code_finds_the_width(dim: int, ffn_dim: int) -> None:
    from tropilla.quant.meta_output import _width_rule

    assert meta_ffn_dim(dim, _width_rule(dim, ffn_dim)) == ffn_dim


def test_stories_through_every_format(real_data: Path, tmp_path: Path) -> None:
    """The file that llama2.c's author published comes back byte for byte, its tokenizer too."""
    source = real_data / "weights/stories260K/stories260K.bin"
    run(source, tmp_path / "m.gguf")
    run(tmp_path / "m.gguf", tmp_path / "hf")
    run(tmp_path / "hf", tmp_path / "meta", "meta")
    (tmp_path / "last").mkdir()
    run(tmp_path / "m.gguf", tmp_path / "last" / "stories260K.bin")
    old, new = source.read_bytes(), (tmp_path / "last" / "stories260K.bin").read_bytes()
    tables = 4 * 512 * 8  # two tables of 512 positions and 4 pairs at the end; readers skip them
    assert new[:-tables] == old[:-tables]
    np.testing.assert_allclose(
        np.frombuffer(new[-tables:], np.float32), np.frombuffer(old[-tables:], np.float32), atol=1e-4
    )  # float32 angles up to 512 radians in the original
    vocabulary = tmp_path / "last" / "tok512.bin"
    assert vocabulary.read_bytes() == source.with_name("tok512.bin").read_bytes()
    vocabulary.write_bytes(b"of another model")
    with pytest.raises(OptionError, match=r"tok512\.bin is taken"):
        run(tmp_path / "m.gguf", tmp_path / "last" / "second.bin")
    assert vocabulary.read_bytes() == b"of another model"


def test_quantized_weights_become_exact_floats(tmp_path: Path) -> None:
    tensors = weights(SHAPES)
    source = write(tmp_path / "q.gguf", tensors, quantize=True)
    run(source, tmp_path / "hf")
    run(source, tmp_path / "half", type="F16")
    blocks = gguf.quants.quantize(tensors["blk.0.ffn_up.weight"], gguf.GGMLQuantizationType.Q8_0)
    expected = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType.Q8_0)
    with open_checkpoint(tmp_path / "hf") as exact, open_checkpoint(tmp_path / "half") as half:
        np.testing.assert_array_equal(exact.tensors["blk.0.ffn_up.weight"].to_float32(), expected)
        np.testing.assert_array_equal(
            half.tensors["blk.0.ffn_up.weight"].to_float32(), expected.astype(np.float16).astype(np.float32)
        )


@pytest.mark.parametrize(
    ("family", "config", "to", "message"),
    [
        ("Qwen2", {}, "meta", "bias has no place"),
        ("Qwen3", {}, "meta", "_norm.weight has no place"),
        ("Llama", {"rope_parameters": {"rope_type": "linear", "factor": 2.0}}, "meta", "linear rope scaling"),
        ("Llama", {}, "llama2c", "cannot run a model with norm_eps=1e-06"),
        ("Llama", {"rms_norm_eps": 1e-5, "rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
         "llama2c", "cannot run a model with rope_theta=500000.0"),
    ],
)  # fmt: skip
def test_what_a_target_cannot_hold(
    tmp_path: Path, family: str, config: dict[str, Any], to: str, message: str
) -> None:
    save(tmp_path / "source", family, **config)
    with pytest.raises(UnsupportedError, match=message):
        run(tmp_path / "source", tmp_path / NAMES[to], to)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_places_and_types_that_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "source")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("precious")
    (tmp_path / "file").write_text("precious")
    cases: list[tuple[Path, dict[str, Any], type[TropillaError], str]] = [
        (tmp_path / "mine", {"overwrite": True}, OptionError, "holds something that is no model"),
        (tmp_path / "file", {"overwrite": True}, OptionError, "is a file; name a folder"),
        (tmp_path / "file", {}, OptionError, "exists already; use --force"),
        (tmp_path / "source", {"overwrite": True}, OptionError, "is the source itself"),
        (tmp_path / "source" / "m.gguf", {}, OptionError, "inside the source folder"),
        (tmp_path / "m.safetensors", {}, OptionError, "name the folder"),
        (tmp_path / "m.bin", {"type": "F16"}, OptionError, "its type is F32"),
        (tmp_path / "m.gguf", {"type": "Q4_0"}, UnsupportedError, "for Q4_0 use quantize"),
        (tmp_path / "folder", {"to": "gguf"}, OptionError, r"ends in \.gguf"),
    ]
    for destination, options, error, message in cases:
        with pytest.raises(error, match=message):
            run(tmp_path / "source", destination, **options)
    with pytest.raises(OptionError, match="folder that the source lies in"):
        run(tmp_path / "source" / "model.safetensors", tmp_path / "source", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "mine", "source"]
    run(tmp_path / "source", tmp_path / "hf")
    run(tmp_path / "source", tmp_path / "hf", type="F16", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "hf", "mine", "source"]


def test_nothing_is_left_of_a_run_that_stops(tmp_path: Path) -> None:
    save(tmp_path / "source")
    targets: tuple[Target, ...] = ("huggingface", "meta")
    for to in targets:
        events = convert(tmp_path / "source", tmp_path / "out", to=to)
        for _ in range(3):
            next(events)
        getattr(events, "close")()  # noqa: B009  # the type says only Iterator
        assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_transformers_tells_the_published_story(real_data: Path, tmp_path: Path) -> None:
    """Run by transformers from our folder, the weights tell the story that their author published."""
    import transformers

    source = real_data / "weights/stories260K/stories260K.bin"
    run(source, tmp_path / "hf")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf")
    with torch.no_grad():
        ids = model.generate(torch.tensor([[1]]), max_new_tokens=256, do_sample=False, eos_token_id=None)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    golden = json.loads((Path(__file__).parents[1] / "golden/stories260K.json").read_text("utf-8"))
    assert tokenizer.decode(ids[0, 1:]) == golden["text"].rstrip("\n")
