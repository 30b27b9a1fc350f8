"""Pulling by catalogue name puts a whole, checked model into the library, or nothing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.tiny_model import write_tiny_model
from tests.hub.fake_hub import COMMIT, FakeHub, served
from tests.hub.test_wheel import CONTENT, make_wheel, source
from tropilla.errors import FormatError, OptionError, PullError, RequestError
from tropilla.events import Event, Notice, Progress, Saved
from tropilla.hub import catalogue as catalogue_module
from tropilla.hub import contents as contents_module
from tropilla.hub import pull as pull_module
from tropilla.hub.catalogue import Catalogue, CatalogueModel, HuggingFaceSource, WheelSource, catalogue
from tropilla.hub.library import find, installed, models_folder
from tropilla.hub.pull import pull
from tropilla.hub.pull_options import PullOptions


def list_only(
    monkeypatch: pytest.MonkeyPatch, origin: WheelSource | HuggingFaceSource, *, gated: bool = False
) -> None:
    """Make the catalogue list one model, "tiny" alias "little", that comes from there."""
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
        source=origin,
        gated=gated,
    )
    listed = Catalogue(families=catalogue().families, models=(model,))
    monkeypatch.setattr(catalogue_module, "catalogue", lambda: listed)
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
    *progress, end = pull("tiny")
    assert all(isinstance(event, Progress) for event in progress)
    assert isinstance(end, Saved)
    assert end.path.read_bytes() == CONTENT
    assert end.size_bytes == len(CONTENT)
    assert find("little").path == end.path
    assert find("tiny").receipt.origin == "pip:tropilla-test-model==1.0"
    assert index.exists()


def test_a_model_that_is_here_is_not_fetched_again(index: Path) -> None:
    first = list(pull("tiny"))[-1]
    next(index.iterdir()).unlink()
    assert list(pull("little")) == [first]
    with pytest.raises(PullError):
        list(pull("tiny", PullOptions(again=True)))
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


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """Return a running hub; nothing else can be reached."""
    with served(FakeHub(files={"m-Q4_K_M.gguf": b"four bits", "m-Q8_0.gguf": b"eight bits"})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield hub


def saved(events: Iterator[Event]) -> Saved:
    """Return the last event, which says where the model is."""
    last = list(events)[-1]
    assert isinstance(last, Saved)
    return last


def test_a_repository_s_gguf_is_named_after_its_file(hub: FakeHub) -> None:
    end = saved(pull("herd/llama", PullOptions(file="Q8_0")))
    assert end.path.read_bytes() == b"eight bits"
    receipt = find("m-q8_0").receipt
    assert receipt.origin == f"huggingface:herd/llama@{COMMIT}"
    assert receipt.licence == "mit"
    assert receipt.files["m-Q8_0.gguf"].sha256 == hashlib.sha256(b"eight bits").hexdigest()
    assert find("m-q8_0").path == end.path
    assert len(hub.ranges_asked()) == 1


def test_a_repository_that_is_here_is_not_fetched_again(hub: FakeHub) -> None:
    options = PullOptions(file="Q8_0", name="mine")
    first = saved(pull("herd/llama", options))
    asked = len(hub.requests)
    assert saved(pull("herd/llama", options)) == first
    assert len(hub.requests) == asked
    assert saved(pull("herd/llama", PullOptions(file="Q8_0", name="mine", again=True))) == first
    assert len(hub.requests) > asked


def test_a_folder_model_opens_as_a_folder(hub: FakeHub) -> None:
    hub.files = {"config.json": b"{}", "model.safetensors": b"weights", "tokenizer.json": b"{}"}
    end = saved(pull("herd/llama"))
    assert end.path == find("llama").folder
    assert (end.path / "model.safetensors").read_bytes() == b"weights"
    assert all(file.sha256 for file in find("llama").receipt.files.values())


def test_an_interrupted_pull_goes_on_and_leaves_no_parts(hub: FakeHub) -> None:
    hub.files = {"m.gguf": bytes(5 << 20)}
    events = pull("herd/llama")
    next(events)
    events.close()  # type: ignore[attr-defined]  # the iterator is a generator
    assert installed() == []
    saved(pull("herd/llama"))
    assert hub.ranges_asked()[-1] not in (None, "bytes=0-")
    assert list((models_folder() / ".staging").glob("*.parts")) == []


def test_two_pulls_of_one_model_do_not_mix(hub: FakeHub) -> None:
    hub.files = {"m.gguf": bytes(5 << 20)}
    first = pull("herd/llama")
    next(first)
    with pytest.raises(RequestError, match="is being pulled already"):
        list(pull("herd/llama"))
    assert saved(first).size_bytes == 5 << 20


def test_parts_in_a_repository_s_folder_open_by_the_first(hub: FakeHub) -> None:
    hub.files = {f"Q8_0/m-Q8_0-0000{n}-of-00002.gguf": str(n).encode() for n in (2, 1)}
    end = saved(pull("herd/llama"))
    assert end.path.read_bytes() == b"1"
    assert find("m-q8_0").path == end.path


def test_the_licence_that_must_be_accepted_is_named(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hub.address
    list_hub_model(monkeypatch, gated=True)
    notices = [event.text for event in pull("tiny") if isinstance(event, Notice)]
    assert notices == ["the makers of Tiny ask you to accept the MIT"]


def list_hub_model(monkeypatch: pytest.MonkeyPatch, *, gated: bool = False) -> None:
    """Make the catalogue list "tiny" as two files of the fake hub."""
    files = {"Q4_K_M": "m-Q4_K_M.gguf", "Q8_0": "m-Q8_0.gguf"}
    list_only(monkeypatch, HuggingFaceSource(repo="herd/llama", files=files), gated=gated)


def test_a_listed_model_comes_in_its_usual_type_or_another(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    list_hub_model(monkeypatch)
    assert saved(pull("little")).path.read_bytes() == b"four bits"
    assert saved(pull("tiny", PullOptions(file="q8_0"))).path.read_bytes() == b"eight bits"
    assert [model.name for model in installed()] == ["tiny", "tiny-q8_0"]
    assert find("tiny").receipt.licence == "MIT"
    with pytest.raises(OptionError, match="did you mean 'Q4_K_M'"):
        list(pull("tiny", PullOptions(file="Q4_K_S")))
    assert len(hub.ranges_asked()) == 2


def test_a_file_of_this_machine_joins_the_library(tmp_path: Path) -> None:
    file = write_tiny_model(tmp_path / "My Llama (7B)..gguf")
    content = file.read_bytes()
    end = saved(pull(str(file)))
    assert end.path.read_bytes() == content
    assert find("my-llama-7b").path == end.path
    file.unlink()
    assert end.path.read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"weights", b"GGUF\3\0\0\0"])
def test_what_is_no_model_stays_out_of_the_library(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.gguf"
    file.write_bytes(content)
    with pytest.raises(FormatError, match=r"x\.gguf"):
        list(pull(str(file)))
    assert not installed()


@pytest.fixture
def any_content(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files pass for a model whatever they hold, where only their names matter."""
    monkeypatch.setattr(contents_module, "read_contents", lambda _: None)


@pytest.mark.usefixtures("any_content")
def test_all_parts_of_a_split_file_join_the_library(tmp_path: Path) -> None:
    parts = [f"m-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    for part in parts:
        (tmp_path / part).write_bytes(part.encode())
    (tmp_path / "other.gguf").write_bytes(b"")
    end = saved(pull(str(tmp_path / parts[1])))
    assert end.path == find("m").folder / parts[0]
    assert sorted(find("m").receipt.files) == parts


@pytest.mark.usefixtures("any_content")
def test_a_folder_of_this_machine_joins_the_library(tmp_path: Path) -> None:
    folder = tmp_path / "llama"
    folder.mkdir()
    with pytest.raises(RequestError, match="empty folder"):
        list(pull(str(folder)))
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes(name.encode())
    end = saved(pull(str(folder), PullOptions(name="Mine")))
    assert end.path == find("mine").folder
    assert (end.path / "config.json").read_bytes() == b"config.json"


def test_a_missing_file_is_said_to_be_missing() -> None:
    with pytest.raises(RequestError, match="no such file"):
        list(pull("./nothing.gguf"))


@pytest.mark.parametrize("name", ["../x", "a/b", "con", "x" * 101])
def test_sec4_the_library_name_is_an_id(name: str, tmp_path: Path) -> None:
    file = tmp_path / "x.gguf"
    file.write_bytes(b"weights")
    with pytest.raises(RequestError, match="is not a model name"):
        list(pull(str(file), PullOptions(name=name)))


def test_an_unknown_name_suggests_a_near_one() -> None:
    with pytest.raises(RequestError, match="did you mean 'smollm2'"):
        list(pull("smollm"))


@pytest.mark.default_model
def test_the_default_model_has_the_catalogue_s_bytes(default_model: Path) -> None:
    known = catalogue().get("smollm2")
    assert known is not None
    assert isinstance(known.source, WheelSource)
    with default_model.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == known.source.sha256
