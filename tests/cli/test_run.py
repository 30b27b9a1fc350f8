"""`tropilla run`: where the prompt comes from, what is printed, and what JSON says."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import pytest

from tropilla.api import Piece, Reply, Usage
from tropilla.cli import main, run
from tropilla.cli.parser import Parser
from tropilla.engine.sampling import Sampling
from tropilla.errors import OptionError, RequestError, TropillaError

USAGE = Usage(prompt_tokens=5, completion_tokens=3, cached_tokens=1, prefill_s=0.5, decode_s=0.25)


@dataclass
class ScriptedModel:
    """Say "one two" to everything and remember what was asked how."""

    asked: list[tuple[str, object, Sampling]] = field(default_factory=list)
    closed: bool = False

    def __enter__(self) -> ScriptedModel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closed = True

    def stream(self, prompt: str, sampling: Sampling) -> Iterator[Piece]:
        return self._pieces("raw", prompt, sampling)

    def chat_stream(self, messages: Sequence[object], sampling: Sampling) -> Iterator[Piece]:
        return self._pieces("chat", messages, sampling)

    def complete(self, prompt: str, sampling: Sampling) -> Reply:
        return self._reply("raw", prompt, sampling)

    def chat(self, messages: Sequence[object], sampling: Sampling) -> Reply:
        return self._reply("chat", messages, sampling)

    def _pieces(self, way: str, prompt: object, sampling: Sampling) -> Iterator[Piece]:
        self.asked.append((way, prompt, sampling))
        yield Piece(text="one")
        yield Piece(text=" two", finish_reason="stop", usage=USAGE)

    def _reply(self, way: str, prompt: object, sampling: Sampling) -> Reply:
        self.asked.append((way, prompt, sampling))
        return Reply(
            text="one 안녕", token_ids=(1, 2), tokens=(), finish_reason="stop", stop=None, usage=USAGE, seed=7
        )


def call(*arguments: str) -> ScriptedModel:
    """Run the verb with a scripted model and return the model."""
    parser = Parser(prog="tropilla run", description=None)
    run.add_arguments(parser)
    model = ScriptedModel()
    assert run.run(parser.parse_args(["m", *arguments]), lambda _: model) == 0  # type: ignore[arg-type, return-value]  # scripted
    assert model.closed
    return model


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def test_the_text_is_printed_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    model = call("-p", "hi", "--temperature", "0.5", "--seed", "3")
    assert capsys.readouterr() == ("one two\n", "")
    assert model.asked == [("chat", [user("hi")], Sampling(temperature=0.5, seed=3))]


def test_raw_goes_on_without_a_template() -> None:
    assert call("-p", "Once", "--raw").asked == [("raw", "Once", Sampling())]


def test_a_system_message_comes_first() -> None:
    (asked,) = call("-p", "hi", "--system", "Be brief.").asked
    assert asked[1] == [{"role": "system", "content": "Be brief."}, user("hi")]


def test_the_prompt_comes_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("from a file\n", "utf-8")
    assert call("--file", str(tmp_path / "p.txt"), "--raw").asked[0][1] == "from a file"


@pytest.mark.parametrize(
    ("piped", "prompt"), [("a\nb\n", "a\nb"), ("a\r\n", "a"), ("a", "a"), ("a\n\n", "a\n")]
)
def test_the_prompt_comes_from_a_pipe(piped: str, prompt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(piped))
    assert call("--raw").asked[0][1] == prompt


def test_json_is_one_object_with_all_there_is_to_know(capsys: pytest.CaptureFixture[str]) -> None:
    call("-p", "hi", "--json")
    printed = capsys.readouterr().out
    assert "안녕" in printed
    assert json.loads(printed) == {
        "text": "one 안녕",
        "token_ids": [1, 2],
        "finish_reason": "stop",
        "stop": None,
        "seed": 7,
        "usage": {
            "prompt_tokens": 5,
            "completion_tokens": 3,
            "cached_tokens": 1,
            "prefill_s": 0.5,
            "decode_s": 0.25,
            "prefill_tokens_per_s": 8.0,  # 4 tokens that were not cached in 0.5 s
            "decode_tokens_per_s": 8.0,  # 2 tokens after the first in 0.25 s
        },
    }


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("-p", "a", "--file", "b"), OptionError, "not allowed with argument"),
        (("-p", "a", "--chat", "--raw"), OptionError, "not allowed with argument"),
        (("-p", "a", "--raw", "--system", "b"), OptionError, "--system is for chats"),
        (("-p", "a", "--top-p", "2"), OptionError, "top_p must be in"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(
    arguments: tuple[str, ...], error: type[TropillaError], words: str
) -> None:
    with pytest.raises(error, match=words):
        call(*arguments)


def test_no_prompt_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", terminal)
    with pytest.raises(RequestError, match="there is no prompt"):
        call()


def test_an_unknown_model_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "no-such-model", "-p", "hi"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("tropilla: ")
    assert error.count("\n") == 1


def test_a_missing_prompt_file_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "m", "--file", "no-such-file"]) == 1
    assert capsys.readouterr().err == "tropilla: no-such-file: no such file\n"


@pytest.mark.default_model
class TestDefaultModel:
    """The real thing, through the real command line."""

    def test_a_seed_repeats_the_answer(self, default_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
        arguments = ["run", str(default_model), "-p", "Say hello.", "--max-tokens", "12", "--json"]
        assert main(arguments) == 0
        first = json.loads(capsys.readouterr().out)
        assert main([*arguments, "--seed", str(first["seed"])]) == 0
        second = json.loads(capsys.readouterr().out)
        assert first["text"] == second["text"]
        assert first["usage"]["completion_tokens"] == second["usage"]["completion_tokens"] <= 12

    def test_streamed_text_is_the_whole_text(
        self, default_model: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arguments = ["run", str(default_model), "-p", "Once upon a time", "--raw", "--max-tokens", "12"]
        arguments += ["--temperature", "0"]
        assert main(arguments) == 0
        streamed = capsys.readouterr().out
        assert main([*arguments, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["text"] + "\n" == streamed

    def test_answering_loads_neither_numpy_nor_a_terminal_library(self, default_model: Path) -> None:
        code = (
            "import sys; from tropilla.cli import main; main(sys.argv[1:]); "
            "print(*sys.modules, file=sys.stderr)"
        )
        arguments = ["run", str(default_model), "-p", "hi", "--max-tokens", "2"]
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, check=True
        )
        loaded = set(done.stderr.split())
        assert "tropilla.engine.engine" in loaded
        assert not loaded & {"numpy", "torch", "rich", "prompt_toolkit", "asyncio", "statistics"}


@pytest.mark.parametrize("prompt", ["", " \n"])
def test_an_empty_message_is_refused_but_an_empty_text_goes_on(prompt: str) -> None:
    with pytest.raises(RequestError, match=r"the prompt is empty; .* --raw"):
        call("-p", prompt)
    assert call("-p", prompt, "--raw").asked[0][:2] == ("raw", prompt)
