"""Quantizing files; the `gguf` package is the oracle for bytes and for reading the result."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest

from tests.formats.test_gguf_checkpoint import BIASES, SHAPES, weights, write
from tropilla.errors import FormatError, OptionError, TropillaError, UnsupportedError
from tropilla.events import Event, Notice, Progress, Saved
from tropilla.formats.checkpoint import open_checkpoint
from tropilla.quant.rewrite import quantize_file

TYPES = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1")
# llama.h, enum llama_ftype
FILE_TYPES = dict(zip(TYPES, (0, 1, 32, 7, 2, 3, 8, 9), strict=True))


def run(source: Path, destination: Path, kind: str, *, overwrite: bool = False) -> list[Event]:
    return list(quantize_file(source, destination, kind, overwrite=overwrite))


@pytest.mark.parametrize("kind", TYPES)
def test_bytes_equal_the_gguf_package(tmp_path: Path, kind: str) -> None:
    tensors = weights(SHAPES)
    events = run(write(tmp_path / "in.gguf", tensors), tmp_path / "out.gguf", kind)
    theirs = getattr(gguf.GGMLQuantizationType, kind)
    reader = gguf.GGUFReader(tmp_path / "out.gguf")
    for tensor in reader.tensors:
        original = tensors[tensor.name]
        wanted = theirs if original.ndim == 2 else gguf.GGMLQuantizationType.F32
        assert tensor.tensor_type == wanted
        expected = (
            original if wanted == gguf.GGMLQuantizationType.F32 else gguf.quants.quantize(original, wanted)
        )
        assert tensor.data.tobytes() == expected.tobytes(), tensor.name
    assert reader.fields["general.file_type"].contents() == FILE_TYPES[kind]
    assert reader.fields["general.name"].contents() == "Tiny"
    assert ("general.quantization_version" in reader.fields) == (kind[0] == "Q")
    assert [type(event) for event in events] == [Progress] * (len(tensors) + 1) + [Saved]
    last = events[-2]
    assert isinstance(last, Progress)
    assert last.done == last.total


def test_large_tensors_are_cut_into_chunks_without_a_seam(tmp_path: Path) -> None:
    """More weights than one thread takes at a time, in rows that do not divide the chunk."""
    tensors = weights({**SHAPES, "token_embd.weight": (40_000, 64)})
    run(write(tmp_path / "in.gguf", tensors), tmp_path / "out.gguf", "Q4_1")
    with open_checkpoint(tmp_path / "out.gguf") as model:
        expected = gguf.quants.quantize(tensors["token_embd.weight"], gguf.GGMLQuantizationType.Q4_1)
        assert bytes(model.tensors["token_embd.weight"].data) == expected.tobytes()


def test_ragged_rows_become_f16_and_are_named(tmp_path: Path) -> None:
    tensors = weights(SHAPES | {"blk.0.ffn_down.weight": (64, 40)})
    events = run(write(tmp_path / "in.gguf", tensors), tmp_path / "out.gguf", "Q4_0")
    notice = next(event for event in events if isinstance(event, Notice))
    assert "blk.0.ffn_down.weight stay F16: their rows of 40 weights are no whole blocks of 32" in notice.text
    with open_checkpoint(tmp_path / "out.gguf") as model:
        stored = model.tensors["blk.0.ffn_down.weight"]
        assert stored.type.name == "F16"
        assert bytes(stored.data) == tensors[stored.name].astype(np.float16).tobytes()


# One layer whose rows are whole superblocks, but for those of attn_output.
LONG_ROWS = {
    "token_embd.weight": (40, 256),
    "output_norm.weight": (256,),
    "blk.0.attn_norm.weight": (256,),
    "blk.0.attn_q.weight": (64, 256),
    "blk.0.attn_k.weight": (32, 256),
    "blk.0.attn_v.weight": (32, 256),
    "blk.0.attn_output.weight": (256, 64),
    "blk.0.ffn_norm.weight": (256,),
    "blk.0.ffn_gate.weight": (512, 256),
    "blk.0.ffn_up.weight": (512, 256),
    "blk.0.ffn_down.weight": (256, 512),
}
LONG_KEYS = {"embedding_length": 256, "feed_forward_length": 512, "attention.key_length": 16}
LONG_KEYS |= {"attention.value_length": 16, "rope.dimension_count": 16}


@pytest.mark.parametrize(
    ("kind", "file_type", "expected"),
    [
        ("Q4_K_M", 15, {"attn_q": "Q4_K", "attn_v": "Q6_K", "ffn_down": "Q6_K", "token_embd": "Q6_K"}),
        ("Q5_K_M", 17, {"attn_q": "Q5_K", "attn_v": "Q6_K", "ffn_down": "Q6_K", "token_embd": "Q6_K"}),
        ("Q3_K", 11, {"attn_q": "Q3_K", "attn_v": "Q3_K", "ffn_down": "Q3_K", "token_embd": "Q3_K"}),
    ],
)
def test_k_types(tmp_path: Path, kind: str, file_type: int, expected: dict[str, str]) -> None:
    tensors = weights(LONG_ROWS)
    source = write(tmp_path / "in.gguf", tensors, keys=LONG_KEYS)
    events = run(source, tmp_path / "out.gguf", kind)
    reader = gguf.GGUFReader(tmp_path / "out.gguf")
    assert reader.fields["general.file_type"].contents() == file_type
    types = {tensor.name.split(".")[-2]: tensor.tensor_type.name for tensor in reader.tensors}
    assert {name: types[name] for name in expected} == expected
    for tensor in reader.tensors:
        decoded = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        original = tensors[tensor.name]
        # A quarter of the weights' size is three bits' worth; a wrong layout would leave about 1.4 of it.
        assert np.linalg.norm(decoded - original) <= 0.25 * np.linalg.norm(original), tensor.name
    shorter = {"Q4_K_M": "Q5_0", "Q5_K_M": "Q5_1", "Q3_K": "Q4_0"}[kind]
    assert types["attn_output"] == shorter
    notice = next(event for event in events if isinstance(event, Notice))
    assert f"blk.0.attn_output.weight become {shorter}: their rows of 64 weights" in notice.text


def test_quantized_input_is_decoded_first(tmp_path: Path) -> None:
    tensors = weights(SHAPES)
    write(tmp_path / "in.gguf", tensors, quantize=True)
    events = run(tmp_path / "in.gguf", tmp_path / "out.gguf", "Q4_0")
    assert any(isinstance(event, Notice) and "Q8_0 already" in event.text for event in events)
    with open_checkpoint(tmp_path / "out.gguf") as model:
        once = gguf.quants.quantize(tensors["blk.0.attn_v.weight"], gguf.GGMLQuantizationType.Q8_0)
        decoded = gguf.quants.dequantize(once, gguf.GGMLQuantizationType.Q8_0)
        twice = gguf.quants.quantize(decoded, gguf.GGMLQuantizationType.Q4_0)
        assert bytes(model.tensors["blk.0.attn_v.weight"].data) == twice.tobytes()


def test_half_split_architectures_keep_their_order(tmp_path: Path) -> None:
    """A qwen2 file stays a qwen2 file: other programs expect its rows where they were."""
    tensors = weights(SHAPES, BIASES)
    run(write(tmp_path / "in.gguf", tensors, "qwen2"), tmp_path / "out.gguf", "Q8_0")
    for tensor in gguf.GGUFReader(tmp_path / "out.gguf").tensors:
        if tensor.name == "blk.0.attn_q.weight":
            expected = gguf.quants.quantize(tensors[tensor.name], gguf.GGMLQuantizationType.Q8_0)
            assert tensor.data.tobytes() == expected.tobytes()


def test_the_whole_metadata_is_carried(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "weights/llama-2-tiny-random/llama-2-tiny-random.gguf"
    run(source, tmp_path / "out.gguf", "F32")
    old, new = gguf.GGUFReader(source), gguf.GGUFReader(tmp_path / "out.gguf")
    for key, field in old.fields.items():
        if key.startswith(("general.file_type", "GGUF.")):
            continue
        assert field.types == new.fields[key].types, key
        assert field.contents() == new.fields[key].contents(), key


def test_from_a_llama2c_file(real_data: Path, tmp_path: Path) -> None:
    run(real_data / "weights/stories260K/stories260K.bin", tmp_path / "out.gguf", "Q8_0")
    reader = gguf.GGUFReader(tmp_path / "out.gguf")
    assert reader.fields["llama.attention.head_count_kv"].contents() == 4
    # 64 columns are two blocks of 32; the 172 of ffn_down are not.
    kinds = {tensor.name.split(".")[-2]: tensor.tensor_type.name for tensor in reader.tensors}
    assert (kinds["attn_q"], kinds["ffn_down"], kinds["attn_norm"]) == ("Q8_0", "F16", "F32")


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("IQ2_S", UnsupportedError, "reads IQ2_S but does not write it; choose one of F32, F16"),
        ("Q4_9", OptionError, "unknown type 'Q4_9'; did you mean 'Q4_"),
        ("", OptionError, "unknown type ''"),
    ],
)
def test_types_that_cannot_be_written(
    tmp_path: Path, kind: str, error: type[TropillaError], message: str
) -> None:
    source = write(tmp_path / "in.gguf", weights(SHAPES))
    with pytest.raises(error, match=message):
        run(source, tmp_path / "out.gguf", kind)
    assert not (tmp_path / "out.gguf").exists()


def test_lower_case_names_a_type_too(tmp_path: Path) -> None:
    run(write(tmp_path / "in.gguf", weights(SHAPES)), tmp_path / "out.gguf", "q8_0")
    assert (tmp_path / "out.gguf").is_file()


def test_places_that_are_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "in.gguf", weights(SHAPES))
    before = source.read_bytes()
    (tmp_path / "old.gguf").write_bytes(b"precious")
    (tmp_path / "link.gguf").symlink_to(source)
    for destination, message in [
        (source, "is the source itself"),
        (tmp_path / "link.gguf", "is the source itself"),
        (tmp_path / "old.gguf", "exists already; use --force"),
        (tmp_path / "nowhere" / "out.gguf", "there is no such folder"),
        (tmp_path / "out.bin", "a GGUF file's name ends in .gguf"),
    ]:
        with pytest.raises(OptionError, match=message):
            run(source, destination, "F16", overwrite=destination.name != "old.gguf")
    assert source.read_bytes() == before
    assert (tmp_path / "old.gguf").read_bytes() == b"precious"
    run(source, tmp_path / "old.gguf", "F16", overwrite=True)
    assert (tmp_path / "old.gguf").read_bytes()[:4] == b"GGUF"
    with pytest.raises(FormatError, match="no such file"):
        run(tmp_path / "missing.gguf", tmp_path / "out.gguf", "F16")


def test_nothing_is_left_of_a_run_that_stops(tmp_path: Path) -> None:
    source = write(tmp_path / "in.gguf", weights(SHAPES))
    events = quantize_file(source, tmp_path / "out.gguf", "F16")
    next(events)
    next(events)
    getattr(events, "close")()  # noqa: B009  # the type says only Iterator
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.gguf"]


def test_infinite_weights_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    tensors = weights(SHAPES)
    tensors["blk.0.attn_v.weight"][3, 5] = np.inf
    source = write(tmp_path / "in.gguf", tensors)
    with pytest.raises(UnsupportedError, match=r"blk\.0\.attn_v\.weight: infinite"):
        run(source, tmp_path / "out.gguf", "Q4_0")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.gguf"]
