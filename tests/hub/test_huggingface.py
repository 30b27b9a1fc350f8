"""Downloads against a hub that drops, lies, stalls and redirects: right bytes arrive, or one sentence."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub.fake_hub import COMMIT, FakeHub, served
from tropilla.errors import CapacityError, PullError, RequestError, TropillaError
from tropilla.hub.http import MAX_REDIRECTS, Patience, redirect_target
from tropilla.hub.huggingface import choose_files, fetch_files, read_repository

BIG = random.Random(7).randbytes((3 << 20) + 123)  # three chunks and a part of a fourth
HASTY = Patience(timeout_s=5.0, attempts=3, first_pause_s=0.001)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """Return a running hub with one GGUF file; nothing else can be reached."""
    with served(FakeHub(files={"model.gguf": BIG})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield hub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "parts"
    path.mkdir()
    return path


def fetch(folder: Path, wanted: str | None = None, patience: Patience = HASTY) -> list[int]:
    """Fetch the repository's model into the folder and return the bytes done at each step."""
    repository = read_repository("herd/llama", patience=patience)
    files = choose_files(repository, wanted)
    return [event.done for event in fetch_files(repository, files, folder, patience=patience)]


def failure(folder: Path, wanted: str | None = None) -> str:
    with pytest.raises(TropillaError) as caught:
        fetch(folder, wanted)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.usefixtures("hub")
def test_a_file_arrives_whole_with_rising_progress(folder: Path) -> None:
    steps = fetch(folder)
    assert steps == sorted(steps)
    assert steps[-1] == len(BIG)
    assert (folder / "model.gguf").read_bytes() == BIG
    assert names(folder) == ["model.gguf"]


def test_files_are_asked_for_at_one_commit(hub: FakeHub, folder: Path) -> None:
    fetch(folder)
    assert hub.requests[-1][0] == f"/herd/llama/resolve/{COMMIT}/model.gguf"


def test_a_dropped_connection_goes_on_where_it_stopped(hub: FakeHub, folder: Path) -> None:
    hub.cuts = [1_000_000, 7, 0, 1_500_000]
    fetch(folder)
    assert (folder / "model.gguf").read_bytes() == BIG
    assert hub.ranges_asked() == [
        None,
        "bytes=1000000-",
        "bytes=1000007-",
        "bytes=1000007-",
        "bytes=2500007-",
    ]


def test_an_interrupted_program_goes_on_where_it_stopped(hub: FakeHub, folder: Path) -> None:
    repository = read_repository("herd/llama")
    events = iter(fetch_files(repository, choose_files(repository, None), folder))
    next(events)
    events.close()  # type: ignore[attr-defined]  # the iterator is a generator
    here = (folder / "model.gguf.part").stat().st_size
    assert 0 < here < len(BIG)
    fetch(folder)
    assert (folder / "model.gguf").read_bytes() == BIG
    assert hub.ranges_asked()[-1] == f"bytes={here}-"


def test_a_server_without_ranges_is_asked_from_the_start(hub: FakeHub, folder: Path) -> None:
    hub.ranges = False
    hub.cuts = [2_000_000]
    fetch(folder)
    assert (folder / "model.gguf").read_bytes() == BIG


def test_a_file_that_changed_meanwhile_starts_again(hub: FakeHub, folder: Path) -> None:
    hub.cuts = [2_000_000] * 9
    hub.ranges = False
    failure(folder)
    hub.cuts, hub.ranges = [], True
    hub.files["model.gguf"] = BIG[::-1]
    fetch(folder)
    assert (folder / "model.gguf").read_bytes() == BIG[::-1]


def test_a_change_is_noticed_even_without_a_checksum(hub: FakeHub, folder: Path) -> None:
    """The ETag of the first half guards the second: If-Range turns a changed file into a whole one."""
    hub.raw_listing = b'{"sha": "%s", "siblings": [{"rfilename": "model.gguf"}]}' % COMMIT.encode()
    hub.cuts = [1_000_000, 0, 0, 0]
    failure(folder)
    hub.cuts = []
    hub.files["model.gguf"] = BIG[::-1]
    fetch(folder)
    assert (folder / "model.gguf").read_bytes() == BIG[::-1]


def test_a_change_that_the_server_hides_is_caught_by_the_checksum(hub: FakeHub, folder: Path) -> None:
    """A mirror that sends the same ETag for two versions joins halves of both: start once from nothing."""
    hub.etag = '"always the same"'
    (folder / "model.gguf.part").write_bytes(bytes(1000))
    (folder / "model.gguf.etag").write_text(hub.etag)
    fetch(folder)
    assert (folder / "model.gguf").read_bytes() == BIG
    assert hub.ranges_asked() == ["bytes=1000-", None]


def test_a_part_longer_than_the_file_starts_again(folder: Path, hub: FakeHub) -> None:
    (folder / "model.gguf.part").write_bytes(bytes(len(BIG) + 1))
    fetch(folder)
    assert (folder / "model.gguf").read_bytes() == BIG
    assert hub.ranges_asked()[-1] is None


def test_a_finished_file_is_checked_and_not_fetched_again(hub: FakeHub, folder: Path) -> None:
    fetch(folder)
    asked = len(hub.ranges_asked())
    fetch(folder)
    assert len(hub.ranges_asked()) == asked
    (folder / "model.gguf").write_bytes(bytes(len(BIG)))
    fetch(folder)
    assert (folder / "model.gguf").read_bytes() == BIG


def test_wrong_bytes_are_never_kept(hub: FakeHub, folder: Path) -> None:
    hub.listed_sha256["model.gguf"] = hashlib.sha256(b"other").hexdigest()
    assert "wrong contents" in failure(folder)
    assert names(folder) == []


def test_a_small_file_is_checked_by_git_s_hash(hub: FakeHub, folder: Path) -> None:
    hub.files = {"config.json": b"{}", "model.safetensors": BIG}
    repository = read_repository("herd/llama")
    hub.files["config.json"] = b"[]"
    with pytest.raises(PullError, match="git's hash"):
        list(fetch_files(repository, repository.files, folder, patience=HASTY))


@pytest.mark.parametrize("status", [500, 503, 429])
def test_passing_trouble_is_waited_out(status: int, hub: FakeHub, folder: Path) -> None:
    hub.statuses = [status, status]
    fetch(folder)
    assert (folder / "model.gguf").read_bytes() == BIG


def test_lasting_trouble_ends_in_one_sentence_and_keeps_the_part(hub: FakeHub, folder: Path) -> None:
    repository = read_repository("herd/llama")
    hub.cuts = [1_000_000]
    hub.statuses = []

    def fail_after_the_cut() -> None:
        for _ in fetch_files(repository, repository.files, folder, patience=HASTY):
            hub.statuses = [500] * 9

    with pytest.raises(PullError, match=r"HTTP status 500.*goes on from there"):
        fail_after_the_cut()
    assert (folder / "model.gguf.part").stat().st_size == 1_000_000


def test_a_silent_server_is_given_up(hub: FakeHub, folder: Path) -> None:
    hub.silent_s = 1.0
    start = time.monotonic()
    with pytest.raises(PullError, match="it fell silent"):
        fetch(folder, patience=Patience(timeout_s=0.1, attempts=2, first_pause_s=0.001))
    assert time.monotonic() - start < 1.0


def test_no_hub_at_all_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "check the network" in failure(folder)


def test_an_endless_redirect_is_left(hub: FakeHub, folder: Path) -> None:
    hub.loop = True
    assert "redirects in circles" in failure(folder)
    assert len(hub.ranges_asked()) == MAX_REDIRECTS + 1


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", ""])
def test_a_redirect_away_from_the_web_is_refused(target: str, hub: FakeHub, folder: Path) -> None:
    hub.cdn = FakeHub(address=target)
    hub.repo = "herd/llama"
    message = failure(folder)
    assert "not followed" in message or "in circles" in message


@pytest.mark.parametrize(
    ("url", "location", "target"),
    [
        ("https://hub/a/b", "/c", "https://hub/c"),
        ("https://hub/a/b", "c", "https://hub/a/c"),
        ("https://hub/a", "https://cdn/c", "https://cdn/c"),
        ("http://hub/a", "https://cdn/c", "https://cdn/c"),
    ],
)
def test_a_redirect_leads_where_it_says(url: str, location: str, target: str) -> None:
    assert redirect_target(url, location) == target


@pytest.mark.parametrize("location", ["http://cdn/c", "ftp://cdn/c", "javascript:x", "", None])
def test_a_redirect_never_leaves_encryption(location: str | None) -> None:
    with pytest.raises(PullError, match="not followed"):
        redirect_target("https://hub/a", location)


def test_a_mirror_that_lists_no_sizes_still_serves(hub: FakeHub, folder: Path) -> None:
    hub.cuts = [1_000_000]
    hub.raw_listing = b'{"sha": "%s", "siblings": [{"rfilename": "model.gguf"}]}' % COMMIT.encode()
    fetch(folder)
    assert (folder / "model.gguf").read_bytes() == BIG
    assert hub.ranges_asked() == [None, "bytes=1000000-"]


def test_the_token_goes_to_the_hub_and_nowhere_else(
    hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    with served(FakeHub(files=hub.files)) as cdn:
        hub.cdn = cdn
        fetch(folder)
        assert {headers.get("Authorization") for _, headers in hub.requests} == {"Bearer secret"}
        assert [headers.get("Authorization") for _, headers in cdn.requests] == [None]
    assert (folder / "model.gguf").read_bytes() == BIG


@pytest.mark.parametrize(
    ("status", "words"), [(401, "HF_TOKEN"), (403, "accept the model's licence"), (404, "spelling")]
)
def test_a_refusal_says_what_to_do(status: int, words: str, hub: FakeHub, folder: Path) -> None:
    hub.statuses = [status]
    message = failure(folder)
    assert words in message
    assert hub.address in message


def test_a_gated_file_says_what_to_do(hub: FakeHub, folder: Path) -> None:
    repository = read_repository("herd/llama")
    hub.statuses = [403]
    with pytest.raises(RequestError, match="HF_TOKEN"):
        list(fetch_files(repository, repository.files, folder, patience=HASTY))


def test_a_folder_model_is_its_weights_settings_and_tokenizer(hub: FakeHub, folder: Path) -> None:
    shards = {f"model-0000{n}-of-00002.safetensors": BIG[n:] for n in (1, 2)}
    others = {
        "config.json": b"{}",
        "tokenizer.json": b"{}",
        "model.safetensors.index.json": b"{}",
        "LICENSE": b"",
    }
    hub.files = {
        **shards,
        **others,
        "README.md": b"#",
        "consolidated.safetensors": BIG,
        "onnx/config.json": b"",
    }
    fetch(folder)
    assert set(names(folder)) == {*shards, *others}
    assert all((folder / name).read_bytes() == content for name, content in {**shards, **others}.items())


def test_one_of_several_ggufs_is_chosen_by_name_type_or_not_at_all(hub: FakeHub, folder: Path) -> None:
    hub.files = {
        "m-Q4_K_M.gguf": b"4",
        "m-Q8_0.gguf": b"8",
        "m-F16-00001-of-00002.gguf": b"a",
        "m-F16-00002-of-00002.gguf": b"b",
    }
    assert "choose one with --file: m-F16.gguf, m-Q4_K_M.gguf, m-Q8_0.gguf" in failure(folder)
    assert "no GGUF file 'Q5_0'" in failure(folder, "Q5_0")
    assert "several models" in failure(folder, "m-")
    fetch(folder, "q8_0")
    assert names(folder) == ["m-Q8_0.gguf"]
    fetch(folder, "F16")
    assert names(folder) == ["m-F16-00001-of-00002.gguf", "m-F16-00002-of-00002.gguf", "m-Q8_0.gguf"]


def test_a_repository_without_a_model_says_so(hub: FakeHub, folder: Path) -> None:
    hub.files = {"pytorch_model.bin": b"pickle"}
    assert "no model that Tropilla reads" in failure(folder)


@pytest.mark.parametrize("name", ["../evil.gguf", "/etc/evil.gguf", "a\\..\\evil.gguf", "c:evil.gguf"])
def test_sec4_a_listing_cannot_place_files_elsewhere(name: str, hub: FakeHub, folder: Path) -> None:
    hub.files = {name: b"evil"}
    assert "would leave the model's folder" in failure(folder)
    assert names(folder) == []


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>", b"\xff", b"[]", b"{}", b"null", b'{"sha": "main; rm", "siblings": []}',
        b'{"sha": "0123456", "siblings": [{}]}', b'{"sha": "0123456", "siblings": [3]}',
        b'{"sha": "0123456", "siblings": [{"rfilename": "x", "size": "big"}]}',
    ],
)  # fmt: skip
def test_an_answer_that_is_no_hub_s_is_refused(answer: bytes, hub: FakeHub, folder: Path) -> None:
    hub.raw_listing = answer
    with pytest.raises(PullError):
        fetch(folder)


def test_a_full_disk_is_noticed_first(hub: FakeHub, folder: Path) -> None:
    repository = read_repository("herd/llama")
    (file,) = repository.files
    huge = type(file)(name=file.name, size_bytes=1 << 60, sha256=None, git_sha1=None)
    with pytest.raises(CapacityError, match="TB on the disk"):
        list(fetch_files(repository, [huge], folder, patience=HASTY))
    assert hub.ranges_asked() == []
