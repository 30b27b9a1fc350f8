"""The README's words are true: its Python runs, its verbs and make targets exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tropilla.cli import verbs

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_every_verb_in_the_readme_exists() -> None:
    named = set(re.findall(r"^ {4}tropilla (\w+)", README, re.MULTILINE))
    assert named
    assert named <= verbs().keys()
    assert {verb for verb in verbs() if f"tropilla {verb}" not in README} <= {"rm"}


def test_every_make_target_in_the_readme_exists() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"^ {4}make (\w+)", README, re.MULTILINE)) == {"start", "test"}
    assert {"start", "test"} <= targets


@pytest.mark.usefixtures("default_model")
def test_the_python_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(code) == 1
    exec(code[0], {})  # noqa: S102  # the README's own example
    printed = capsys.readouterr().out
    assert len(printed) > 100
