"""The verbs info, convert and quantize on files and folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.formats.test_gguf_checkpoint import BIASES, SHAPES, weights, write
from tropilla.cli import main

pytestmark = pytest.mark.usefixtures("library")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return a tiny model file that the gguf package wrote."""
    return write(tmp_path / "tiny.gguf", weights(SHAPES))


def test_info_for_people(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(model)]) == 0
    out = capsys.readouterr().out
    lines = {line[2:].split("  ")[0]: line for line in out.splitlines()[1:]}
    assert out.splitlines()[0] == str(model)
    # By hand: 2 * 64 * 64 + 2 * 32 * 64 + 3 * 96 * 64 + 40 * 64 + 3 * 64 weights.
    assert "33.5 k" in lines["parameters"]
    assert "4 heads of 16, 2 for keys and values" in lines["attention"]
    assert "32.00 bits each: 11 F32" in lines["weights"]
    assert "none in the file" in lines["tokenizer"]
    # 1 layer * 2 * 32 values * 2 bytes = 128 bytes a token, 128 tokens
    assert "16.4 kB for 128 tokens (128 B each)" in lines["memory"]


def test_info_for_scripts(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(model), "--json", "--context", "1000"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["n_parameters"] == 33472
    assert content["weights_bytes"] == 4 * 33472
    assert content["bits_per_weight"] == 32
    assert content["config"]["n_kv_heads"] == 2
    assert content["types"]["F32"] == {"tensors": 11, "weights": 33472, "size_bytes": 4 * 33472}
    assert content["memory"]["total_bytes"] == 4 * 33472 + 1000 * 128


def test_info_names_what_is_special(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys: dict[str, int | float | str] = {
        "attention.sliding_window": 32, "rope.scaling.type": "linear", "rope.scaling.factor": 4.0
    }  # fmt: skip
    path = write(tmp_path / "m.gguf", weights(SHAPES, BIASES), "qwen2", quantize=True, keys=keys)
    assert main(["info", str(path), "--tensors"]) == 0
    out = capsys.readouterr().out
    assert "q k v" in out
    assert "a token sees 32 tokens" in out
    assert "linear scaling by 4" in out
    assert "Q8_0   64 x 64" in out


def test_info_on_a_real_file(real_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = real_data / "weights/llama-2-tiny-random/llama-2-tiny-random.gguf"
    assert main(["info", str(path)]) == 0
    assert "SentencePiece BPE, 32000 tokens" in capsys.readouterr().out


def test_the_template_alone(default_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(default_model), "--template"]) == 0
    assert capsys.readouterr().out.startswith("{% for message in messages %}")


def test_quantize(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "small.gguf"
    assert main(["quantize", str(model), str(out), "--type", "q8_0"]) == 0
    assert out.is_file()
    captured = capsys.readouterr()
    assert captured.out.startswith(f"wrote {out} (")
    assert "quantizing" in captured.err
    assert main(["quantize", str(model), str(out), "--type", "q8_0", "--force", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_convert(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, back = tmp_path / "hf", tmp_path / "back.gguf"
    assert main(["convert", str(model), str(folder)]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(f"wrote {folder} (")
    assert "note: the source has no tokenizer" in captured.err
    assert main(["convert", str(folder), str(back), "--type", "F16", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["info", str(back)]) == 0
    assert "8 F16, 3 F32" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["info", "./missing.gguf"], 1, "no such file or folder"),
        (["info", "MODEL", "--context", "0"], 2, "--context must be at least 1"),
        (["quantize", "MODEL", "out.gguf"], 2, "--type"),
        (["convert", "MODEL", "out", "--to", "onnx"], 2, "invalid choice: 'onnx'"),
        (["convert", "MODEL", "out.gguf", "--type", "Q4_0"], 1, "for Q4_0 use quantize"),
        (["convert", "MODEL", "old.gguf"], 2, "exists already; use --force"),
        (["convert", "MODEL", "none/out.gguf"], 2, "there is no such folder"),
        (["convert", "MODEL", "out.bin"], 1, "llama2.c cannot run a model with rope_theta"),
        (["convert", "./missing", "out.gguf"], 1, "no such file or folder"),
        (["quantize", "MODEL", "out.gguf", "--type", "IQ2_S"], 1, "choose one of F32"),
        (["quantize", "MODEL", "out.gguf", "--type", "int4"], 2, "unknown type 'int4'"),
        (["quantize", "MODEL", "MODEL", "--type", "F16"], 2, "is the source itself"),
        (["quantize", "MODEL", "old.gguf", "--type", "F16"], 2, "exists already; use --force"),
        (["quantize", "other.gguf", "out.gguf", "--type", "F16"], 1, "'gemma2' is not supported"),
        (["quantize", "broken.gguf", "out.gguf", "--type", "F16"], 1, "broken.gguf"),
    ],
)
def test_mistakes_are_one_sentence(
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    status: int,
    words: str,
) -> None:
    monkeypatch.chdir(model.parent)
    Path("old.gguf").write_bytes(b"precious")
    Path("broken.gguf").write_bytes(model.read_bytes()[:300])
    write(Path("other.gguf"), weights(SHAPES), "gemma2")
    before = sorted(Path().iterdir())
    assert main([model.name if word == "MODEL" else word for word in arguments]) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert words in captured.err
    assert captured.err.startswith("tropilla: ")
    assert captured.err.count("\n") == 1
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize("verb", ["info", "convert", "quantize"])
def test_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    assert f"tropilla {verb}" in capsys.readouterr().out
