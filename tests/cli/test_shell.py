"""The shell around the verbs: help, version, suggestions, exit statuses and what it costs to start."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import pytest

import tropilla
from tropilla import cli
from tropilla.cli.shell import PIPE_CLOSED
from tropilla.errors import CapacityError, OptionError

Run = Callable[..., object]


def python(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Callable[[Run], None]:
    """Install a verb "greet" that runs the given function."""

    def install(run: Run) -> None:
        module = types.ModuleType("greet_verb", "Greet somebody.")
        module.__dict__["add_arguments"] = lambda parser: parser.add_argument("--name", default="you")
        module.__dict__["run"] = run
        monkeypatch.setitem(sys.modules, "greet_verb", module)
        monkeypatch.setattr(cli, "GROUPS", {"Talk": {"greet": ("greet_verb", "say hello")}})

    return install


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"tropilla {tropilla.__version__}\n"


def test_module_is_the_same_program() -> None:
    assert python("-m", "tropilla", "--version").stdout == f"tropilla {tropilla.__version__}\n"


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["help"]])
def test_help_groups_the_verbs(
    argv: list[str], verb: Callable[[Run], None], capsys: pytest.CaptureFixture[str]
) -> None:
    verb(lambda _: 0)
    assert cli.main(argv) == 0
    assert "Talk\n  greet      say hello\n" in capsys.readouterr().out


def test_every_verb_of_the_table_can_be_called() -> None:
    for name, (module, what) in cli.verbs().items():
        assert what, name
        assert python("-m", "tropilla", name, "--help").returncode == 0, module


def test_a_verb_gets_its_flags_and_returns_its_status(verb: Callable[[Run], None]) -> None:
    seen = []

    def run(args: types.SimpleNamespace) -> int:
        seen.append(args.name)
        return 7

    verb(run)
    assert cli.main(["greet", "--name", "Ada"]) == 7
    assert seen == ["Ada"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["gret"], "unknown verb 'gret'; did you mean 'greet'?"),
        (["zzz"], "unknown verb 'zzz'; `tropilla --help` lists them all"),
        (["--versoin"], "unknown option '--versoin'; did you mean '--version'?"),
        (["greet", "--nme", "x"], "unknown argument '--nme'; did you mean '--name'?"),
        (["greet", "--name"], "argument --name: expected one argument; see `tropilla greet --help`"),
    ],
)
def test_a_mistake_is_one_sentence_with_the_next_step(
    argv: list[str], words: str, verb: Callable[[Run], None], capsys: pytest.CaptureFixture[str]
) -> None:
    verb(lambda _: 0)
    assert cli.main(argv) == 2
    assert capsys.readouterr().err == f"tropilla: {words}\n"


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (CapacityError("needs 9 GB, 4 GB are free", needed=9, available=4), 1, "needs 9 GB, 4 GB are free"),
        (OptionError("top_p must be in (0, 1], got 2"), 2, "top_p must be in (0, 1], got 2"),
        (FileNotFoundError(2, "No such file or directory", "a.gguf"), 1, "a.gguf: No such file or directory"),
    ],
)
def test_errors_end_in_a_sentence_and_a_status(
    error: Exception,
    status: int,
    words: str,
    verb: Callable[[Run], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(_: object) -> int:
        raise error

    verb(run)
    assert cli.main(["greet"]) == status
    assert capsys.readouterr().err == f"tropilla: {words}\n"


def test_ctrl_c_is_130_without_a_traceback(
    verb: Callable[[Run], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_: object) -> int:
        raise KeyboardInterrupt

    verb(run)
    assert cli.main(["greet"]) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(sys.platform == "win32", reason="closing a pipe early is a POSIX matter")
def test_a_closed_pipe_is_quiet() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "tropilla", "--help"],
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (PIPE_CLOSED, b"")


HEAVY = {
    "argparse",
    "dataclasses",
    "numpy",
    "rich",
    "prompt_toolkit",
    "jinja2",
    "tokenizers",
    "torch",
    "asyncio",
}


@pytest.mark.parametrize("flag", ["--version", "--help"])
def test_starting_imports_nothing_heavy(flag: str) -> None:
    code = (
        "import sys; from tropilla.cli import main; main([sys.argv[1]]); print(*sys.modules, file=sys.stderr)"
    )
    loaded = set(python("-c", code, flag).stderr.split())
    assert "tropilla.cli" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize("verb", ["chat", "run"])
def test_explaining_a_verb_loads_no_library_that_it_runs_on(verb: str) -> None:
    code = (
        "import sys; from tropilla.cli import main; main([sys.argv[1], '--help']); "
        "print(*sys.modules, file=sys.stderr)"
    )
    loaded = set(python("-c", code, verb).stderr.split())
    assert f"tropilla.cli.{verb}" in loaded
    assert not loaded & (HEAVY - {"argparse", "dataclasses"})


def test_version_takes_under_150_ms() -> None:
    """The best of five counts: a busy machine only ever adds time."""

    def seconds() -> float:
        start = time.perf_counter()
        python("-m", "tropilla", "--version")
        return time.perf_counter() - start

    assert min(seconds() for _ in range(5)) < 0.150


def test_output_is_utf8_whatever_the_platform_says(tmp_path: Path) -> None:
    code = "import sys; from tropilla.cli import main; main(['--version']); print('안녕')"
    script = tmp_path / "speak.py"
    script.write_text(code, "utf-8")
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        env={"PYTHONIOENCODING": "latin-1", "PYTHONPATH": ":".join(sys.path), "PYTHONUTF8": "0"},
        timeout=60,
        check=False,
    )
    assert done.stdout.decode("utf-8").endswith("안녕\n"), done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="no shell here closes a stream")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_traceback(closed: str) -> None:
    command = f"{sys.executable} -m tropilla tokenize nothing.gguf text {closed}"
    ended = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    helped = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m tropilla --help {closed}"], capture_output=True, timeout=60
    )
    assert (helped.returncode, helped.stderr) == (0, b"")


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_input_that_is_no_utf8_is_refused_in_any_locale(locale: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tropilla", "run", "any"],
        input=b"hello \xff",
        env={**os.environ, "LC_ALL": locale, "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert b"standard input: is no UTF-8 text: invalid start byte at byte 6" in ended.stderr
