"""The library finds models by name or path, and no name leads out of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tropilla.errors import FormatError, PullError, RequestError
from tropilla.hub.library import (
    broken,
    find,
    installed,
    library_folder,
    models_folder,
    publish,
    remove,
    resolve,
    staging,
)
from tropilla.hub.names import model_id
from tropilla.hub.receipt import PulledFile, Receipt

HOSTILE = [
    "", ".", "..", "../secret", "a/../../b", "/etc/passwd", "a/b", "a\\b", "C:", "C:model", "c:\\models",
    "\\\\server\\share", "//server/share", "~", "~root", "a\0b", "a\nb", "model.", "a..b", ".hidden", "-rf",
    "nul", "CON", "com1.gguf", "lpt9", "é", "a" * 101, "\u202egguf", "file:///etc/passwd", "%2e%2e", "a b",
]  # fmt: skip


def put(name: str, content: bytes = b"weights") -> Path:
    """Install a one-file model of that name and return the file."""
    with staging(name) as folder:
        (folder / "model.gguf").write_bytes(content)
        files = {"model.gguf": PulledFile(size_bytes=len(content), sha256=None)}
        receipt = Receipt(name=name, origin="test", licence="MIT", opens="model.gguf", files=files)
        return publish(folder, receipt).path


def test_the_library_is_where_the_environment_says(library: Path) -> None:
    assert library_folder() == library


def test_the_library_has_a_platform_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TROPILLA_HOME")
    assert library_folder().is_absolute()
    assert library_folder().name == "tropilla"


@pytest.mark.parametrize("name", HOSTILE)
def test_sec4_a_hostile_name_is_refused(name: str) -> None:
    with pytest.raises(RequestError):
        model_id(name)
    with pytest.raises(RequestError):
        find(name)
    with pytest.raises(RequestError):
        remove(name)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # one library serves every name
@given(st.text(max_size=30) | st.text(alphabet="./\\:~aZ0-_\0 %", max_size=30))
@example("..")
@example("C:..")
def test_sec4_every_accepted_name_is_one_folder_inside_the_library(name: str) -> None:
    try:
        identity = model_id(name)
    except RequestError:
        return
    root = models_folder()
    assert (root / identity).resolve().parent == root.resolve()
    assert (root / identity).name == identity


def test_a_name_finds_its_file_whatever_the_case() -> None:
    path = put("stories")
    assert resolve("stories") == path
    assert resolve("Stories") == path
    assert find("stories").size_bytes == len(b"weights")


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "x.gguf"
    file.write_bytes(b"")
    assert resolve(file) == file
    assert resolve(str(file)) == file


def test_a_bare_word_is_the_library_s_before_the_folder_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stories").mkdir()
    assert resolve("stories") == Path("stories")
    path = put("stories")
    assert resolve("stories") == path


def test_a_missing_path_is_said_to_be_missing() -> None:
    with pytest.raises(RequestError, match=r"\./nothing\.gguf: no such file"):
        resolve("./nothing.gguf")


def test_a_known_model_that_is_not_here_names_the_command() -> None:
    with pytest.raises(RequestError, match="tropilla pull smollm2"):
        resolve("smollm2")


def test_a_near_name_is_suggested() -> None:
    with pytest.raises(RequestError, match="did you mean 'smollm2'"):
        resolve("smolm2")
    put("stories")
    with pytest.raises(RequestError, match="did you mean 'stories'"):
        resolve("storys")


def test_an_alias_finds_the_model_it_stands_for() -> None:
    path = put("smollm2")
    assert resolve("smollm2-135m") == path
    remove("smollm2-135m")
    assert not path.exists()


def test_removing_frees_what_the_model_held() -> None:
    path = put("stories")
    held = sum(file.stat().st_size for file in path.parent.iterdir())
    assert remove("stories") == held
    assert installed() == []
    with pytest.raises(RequestError, match="not in your library"):
        remove("stories")


def test_the_list_is_in_order_and_skips_what_is_broken() -> None:
    put("b")
    put("a")
    (models_folder() / "no-receipt").mkdir()
    (models_folder() / "bad-json").mkdir()
    (models_folder() / "bad-json" / "receipt.json").write_text("{")
    put("gone").unlink()
    assert [model.name for model in installed()] == ["a", "b"]
    assert sorted(Path(error.path).parent.name for error in broken()) == ["bad-json", "gone", "no-receipt"]


def test_staging_that_fails_leaves_nothing() -> None:
    with pytest.raises(FileNotFoundError), staging("stories") as folder:
        (folder / "half").rename(folder / "no" / "such" / "place")
    assert not folder.exists()
    assert installed() == []


def test_publishing_again_replaces_the_older_copy() -> None:
    put("stories", b"old")
    path = put("stories", b"new")
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in (models_folder() / ".staging").iterdir()] == []


@pytest.mark.parametrize("opens", ["../../secret", "/etc/passwd", "c:\\x", "..", "a\\b", ""])
def test_sec4_a_receipt_cannot_point_out_of_its_folder(opens: str) -> None:
    path = put("stories")
    receipt = path.parent / "receipt.json"
    receipt.write_text(json.dumps(json.loads(receipt.read_text()) | {"opens": opens}))
    with pytest.raises(FormatError, match="not inside"):
        find("stories")


@pytest.mark.parametrize("text", ["[]", "{}", '{"files": 3}', "null", '{"files": {"x": {}}}', "\xff"])
def test_a_broken_receipt_is_a_format_error(text: str) -> None:
    path = put("stories")
    (path.parent / "receipt.json").write_text(text, "latin-1")
    with pytest.raises(FormatError):
        find("stories")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_sec4_a_link_out_of_the_library_is_refused(tmp_path: Path) -> None:
    outside = put("stories").parent.rename(tmp_path / "outside")
    (models_folder() / "stories").symlink_to(outside)
    with pytest.raises(FormatError, match="leads out of the library"):
        find("stories")
    with pytest.raises(FormatError, match="leads out of the library"):
        remove("stories")
    assert (outside / "model.gguf").exists()


def test_a_library_that_cannot_be_written_names_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()  # no folder can be made inside a file, not even by root
    monkeypatch.setenv("TROPILLA_HOME", str(tmp_path / "file"))
    with pytest.raises(PullError, match=r"cannot be written .*; set TROPILLA_HOME"), staging("m"):
        pass
