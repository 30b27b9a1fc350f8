"""What a word can mean is decided by its look alone."""

from __future__ import annotations

import pytest

from tropilla.errors import RequestError
from tropilla.hub.names import id_from, is_repo_name, looks_like_path, model_id, whole_name


@pytest.mark.parametrize("text", ["a/b", "HuggingFaceTB/SmolLM2-360M", "x1/y.z_w-v"])
def test_repository_names_are_recognised(text: str) -> None:
    assert is_repo_name(text)


@pytest.mark.parametrize("text", ["a", "a/b/c", "/a", "a/", "../b", "a/..", "a\\b", "a b/c", "é/b", ""])
def test_other_words_are_no_repository_names(text: str) -> None:
    assert not is_repo_name(text)


@pytest.mark.parametrize(
    "text", ["./x", "../x", "~/x", "a/b", "a\\b", "C:x", "c:\\x", ".", "x.gguf", "X.GGUF", "m.pth"]
)
def test_paths_are_recognised(text: str) -> None:
    assert looks_like_path(text)


@pytest.mark.parametrize("text", ["smollm2", "llama-3.2-1b", "qwen2.5-0.5b", ""])
def test_names_are_no_paths(text: str) -> None:
    assert not looks_like_path(text)


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        ("SmolLM2-360M-Instruct.Q4_K_M", "smollm2-360m-instruct.q4_k_m"),
        ("My Llama (7B)", "my-llama-7b"),
        ("..hidden..model..", "hidden-model"),
        ("x" * 200, "x" * 100),
    ],
)
def test_a_file_s_name_becomes_an_id(text: str, identity: str) -> None:
    assert id_from(text) == identity == model_id(identity)


@pytest.mark.parametrize("text", ["", "...", "(", "라마", "con"])
def test_a_name_without_an_id_in_it_asks_for_one(text: str) -> None:
    with pytest.raises(RequestError, match="is not a model name"):
        id_from(text)


@pytest.mark.parametrize(
    ("part", "whole"),
    [
        ("m-00001-of-00002.gguf", "m.gguf"),
        ("dir/m-00002-of-00002.gguf", "dir/m.gguf"),
        ("m.gguf", "m.gguf"),
        ("m-1-of-2.gguf", "m-1-of-2.gguf"),
        ("m-00001-of-00002.bin", "m-00001-of-00002.bin"),
    ],
)
def test_a_part_names_its_whole(part: str, whole: str) -> None:
    assert whole_name(part) == whole
