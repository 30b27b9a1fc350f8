"""Find the tokenizer, the roles of its tokens and the chat template among the files of a model folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from tropilla.errors import FormatError
from tropilla.formats.json_file import MAX_VOCABULARY_BYTES, read_json_object_if_any
from tropilla.formats.tokenizer_source import (
    SentencePieceModel,
    TiktokenRanks,
    TokenizersJson,
    TokenizerSource,
    TokenRoles,
)

_RANK_LINE = re.compile(rb"[A-Za-z0-9+/]+={0,2} \d+\r?\n")
_BUILT_IN = ("<unk>", "<s>", "</s>")  # a SentencePiece model brings these itself
MAX_TEMPLATE_BYTES = 1 << 20


def folder_tokenizer(folder: Path) -> TokenizerSource | None:
    """Return where the folder's tokenizer lies, None if it has none.

    A SentencePiece model comes first: it is what the model was trained with, and the tokenizer.json
    that some versions of transformers make of it treats leading spaces differently.
    """
    settings = read_json_object_if_any(folder / "tokenizer_config.json")
    roles = _roles(folder, settings)
    model = folder / "tokenizer.model"
    is_sentencepiece = model.is_file() and not _holds_ranks(model)
    if (folder / "tokenizer.json").is_file() and not is_sentencepiece:
        return TokenizersJson(path=folder / "tokenizer.json", roles=roles)
    if not model.is_file():
        return None
    if not is_sentencepiece:
        return TiktokenRanks(path=model, roles=roles)
    added = {text: i for text, i in _added_tokens(folder, settings).items() if text not in _BUILT_IN}
    return SentencePieceModel(path=model, added_tokens=added, roles=roles)


def folder_chat_template(folder: Path) -> str | None:
    """Return the model's Jinja template from `chat_template.jinja` or `tokenizer_config.json`.

    Of several named templates, the one called "default".
    """
    path = folder / "chat_template.jinja"
    if path.is_file():
        if path.stat().st_size > MAX_TEMPLATE_BYTES:
            raise FormatError(path, f"is larger than {MAX_TEMPLATE_BYTES} bytes, so it is no chat template")
        try:
            return path.read_text("utf-8")
        except UnicodeDecodeError as error:
            raise FormatError(path, "is not UTF-8", error.start) from error
    template = read_json_object_if_any(folder / "tokenizer_config.json").get("chat_template")
    if isinstance(template, list):
        named = (item for item in template if isinstance(item, dict) and item.get("name") == "default")
        template = next(named, {}).get("template")
    return template if isinstance(template, str) else None


def _holds_ranks(path: Path) -> bool:
    """Tell Llama 3's lines of base64 and rank from a SentencePiece model, both `tokenizer.model`."""
    with path.open("rb") as file:
        return _RANK_LINE.match(file.readline(1024)) is not None


def _roles(folder: Path, settings: Mapping[str, object]) -> TokenRoles:
    """Return token roles: names in tokenizer_config.json win over ids in the model's configuration."""
    config = read_json_object_if_any(folder / "config.json")
    generation = read_json_object_if_any(folder / "generation_config.json")
    ids = _added_tokens(folder, settings)

    def role(name: str) -> int | None:
        named = ids.get(_token_text(settings.get(name + "_token")))
        numbered = (i for source in (generation, config) for i in _ids(source.get(name + "_token_id")))
        return next(numbered, None) if named is None else named

    ends = {i for source in (generation, config) for i in _ids(source.get("eos_token_id"))}
    add_bos, add_eos = settings.get("add_bos_token"), settings.get("add_eos_token")
    return TokenRoles(
        bos_id=role("bos"),
        eos_id=role("eos"),
        unk_id=role("unk"),
        pad_id=role("pad"),
        end_ids=tuple(sorted(ends)),
        add_bos=add_bos if isinstance(add_bos, bool) else None,
        add_eos=add_eos if isinstance(add_eos, bool) else None,
    )


def _vocabulary_file(folder: Path) -> dict[str, object]:
    return read_json_object_if_any(folder / "tokenizer.json", at_most=MAX_VOCABULARY_BYTES)


def _token_text(value: object) -> str:
    """Return a token that is given as a text or as an object with its settings."""
    if isinstance(value, Mapping):
        value = value.get("content")
    return value if isinstance(value, str) else ""


def _ids(value: object) -> Iterator[int]:
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, int) and not isinstance(item, bool) and item >= 0:
            yield item


def _added_tokens(folder: Path, settings: Mapping[str, object]) -> dict[str, int]:
    """Return the ids of special tokens by their text, from whichever file lists them."""
    added = read_json_object_if_any(folder / "added_tokens.json")
    ids = {text: i for text, value in added.items() for i in _ids(value)}
    listed = settings.get("added_tokens_decoder")
    if isinstance(listed, Mapping):
        ids |= {_token_text(token): int(i) for i, token in listed.items() if i.isascii() and i.isdigit()}
    elif not ids:
        entries = _vocabulary_file(folder).get("added_tokens")
        for token in entries if isinstance(entries, list) else []:
            if isinstance(token, Mapping):
                ids |= {_token_text(token): i for i in _ids(token.get("id"))}
    return ids
