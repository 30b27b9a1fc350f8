"""The verbs pull, models and rm, on a library of their own."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.hub.test_library import put
from tropilla.cli import main
from tropilla.engine.prefix_folder import PrefixFolder
from tropilla.hub.library import prefix_folder


def test_an_empty_library_says_how_to_fill_it(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    assert "tropilla pull smollm2" in capsys.readouterr().out
    assert not library.exists()  # asking makes nothing


@pytest.mark.usefixtures("library")
def test_models_are_listed_for_people_and_for_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    path = put("stories", b"0123456789")
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert "stories" in out
    assert main(["models", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert (entry["name"], entry["size_bytes"], entry["path"]) == ("stories", 10, str(path))


@pytest.mark.usefixtures("library")
def test_rm_deletes_and_says_what_that_freed(capsys: pytest.CaptureFixture[str]) -> None:
    path = put("stories")
    assert main(["rm", "stories"]) == 0
    assert "removed stories" in capsys.readouterr().out
    assert not path.exists()
    assert main(["rm", "stories"]) == 1
    assert "not in your library" in capsys.readouterr().err


@pytest.mark.usefixtures("library")
def test_a_bad_name_suggests_a_near_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pull", "smollm", "--quiet"]) == 1
    assert "did you mean 'smollm2'" in capsys.readouterr().err


def test_an_offline_pull_is_one_sentence_and_leaves_nothing(
    library: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert main(["pull", "smollm2", "--quiet"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("tropilla: pip")
    assert captured.err.count("\n") == 1
    assert [path for path in library.rglob("*") if path.is_file()] == []


def test_cache_shows_and_clears_what_prompts_left(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache"]) == 0
    assert "0 blocks" in capsys.readouterr().out
    assert not library.exists()  # asking makes nothing
    PrefixFolder(prefix_folder(), 10_000).save(b"a", bytes(984))
    assert main(["cache"]) == 0
    assert "1 blocks of prompts, 1 kB" in capsys.readouterr().out
    assert main(["cache", "clear"]) == 0
    assert "removed 1 blocks of prompts (1 kB free again)" in capsys.readouterr().out
    assert list((library / "cache" / "prefixes").iterdir()) == []
