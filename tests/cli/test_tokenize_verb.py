"""tropilla tokenize: every way to give a text and to see its tokens."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from tropilla.cli import main


@pytest.fixture
def llama(real_data: Path) -> str:
    return str(real_data / "tokenizers/vectors/ggml-vocab-llama-spm.gguf")


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    status = main(["tokenize", *arguments])
    captured = capsys.readouterr()
    assert (status, captured.err) == (0, "")
    return captured.out


def test_ids_and_pieces_line_by_line(llama: str, capsys: pytest.CaptureFixture[str]) -> None:
    """15043 and 3186 are the published ids of " Hello" and " world" (llama.cpp's vectors)."""
    assert shown(capsys, llama, "Hello world") == "1\t<s>\n15043\t Hello\n3186\t world\n"
    assert shown(capsys, llama, "Hello world", "--no-bos") == "15043\t Hello\n3186\t world\n"


def test_what_could_steer_a_terminal_is_escaped(llama: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, llama, "\x1b[31m\u202e\n", "--no-bos")
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "\\x1b" in out


def test_special_tokens_are_read_only_on_request(llama: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, llama, "</s>", "--special", "--no-bos") == "2\t</s>\n"
    assert "2\t</s>" not in shown(capsys, llama, "</s>")


def test_json_and_count(llama: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(shown(capsys, llama, "Hello world", "--json")) == {
        "count": 3,
        "tokens": [
            {"id": 1, "piece": "<s>"},
            {"id": 15043, "piece": "▁Hello"},
            {"id": 3186, "piece": "▁world"},
        ],
    }
    assert shown(capsys, llama, "Hello world", "--count") == "3\n"


@pytest.mark.parametrize("given", [["-"], []])
def test_standard_input(
    given: list[str], llama: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hello world"))
    assert shown(capsys, llama, *given, "--count") == "3\n"


@pytest.mark.parametrize(
    "path",
    ["tokenizers/llama-spm/tokenizer.model", "weights/llama-2-tiny-random/llama-2-tiny-random.gguf"],
)
def test_any_file_with_a_vocabulary_will_do(
    path: str, real_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(capsys, str(real_data / path), "Hello world", "--count") == "3\n"


def test_colours_on_a_terminal(
    llama: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = shown(capsys, llama, "Hello world")
    assert "\x1b[" in out
    assert "1 15043 3186" in out
    assert "3 tokens" in out


def test_mistakes_are_one_sentence(
    llama: str, real_data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    assert main(["tokenize", llama]) == 2
    assert "there is no text" in capsys.readouterr().err
    assert main(["tokenize", str(real_data / "README.md"), "x"]) == 1
    assert "not a model file" in capsys.readouterr().err
