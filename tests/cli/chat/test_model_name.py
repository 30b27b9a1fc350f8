"""Names of models as chats keep and show them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tropilla.cli.chat.model_name import lasting, short


def test_a_path_outlasts_the_folder_it_was_typed_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert lasting("models/a.gguf") == str(tmp_path / "models" / "a.gguf")
    assert lasting("~/a.gguf") == str(Path.home() / "a.gguf")
    assert lasting("smollm2") == "smollm2"


def test_a_path_is_shown_by_its_last_part() -> None:
    assert short("/models/a.gguf") == "a.gguf"
    assert short("smollm2") == "smollm2"
