"""Write the tokenizer files of a model folder, so that the converted model tokenises like its source."""

from __future__ import annotations

import shutil
from pathlib import Path

from tropilla.formats.checkpoint import Checkpoint
from tropilla.formats.tokenizer_source import (
    GGUFVocabulary,
    Llama2cVocabulary,
    SentencePieceModel,
    TiktokenRanks,
    TokenizersJson,
    TokenizerSource,
)
from tropilla.quant.gguf_vocabulary import gguf_vocabulary_of
from tropilla.quant.new_folder import write_json
from tropilla.text.byte_level import tokenizer_json
from tropilla.text.sentencepiece_vocabulary import model_bytes
from tropilla.text.tokenizer import Tokenizer, load_tokenizer

_COPIED = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "generation_config.json",
    "chat_template.jinja",
)


def write_tokenizer_files(
    checkpoint: Checkpoint, folder: Path, *, keep_ranks: bool = False
) -> dict[str, object] | None:
    """Write the vocabulary and its settings; return config.json's token ids, None without a tokenizer.

    Files of a source folder are copied as they are. keep_ranks: Llama 3's own file may stay what it is,
    for a reader that knows it.
    """
    source = checkpoint.tokenizer
    if source is None:
        return None
    if isinstance(source, TokenizersJson | SentencePieceModel | TiktokenRanks):
        for name in _COPIED:
            if (source.path.parent / name).is_file():
                shutil.copyfile(source.path.parent / name, folder / name)
    tokenizer = load_tokenizer(source)
    is_sentencepiece = _write_vocabulary(checkpoint, source, folder, keep_ranks=keep_ranks)
    ids: dict[str, object] = {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id}
    if not (folder / "tokenizer_config.json").exists():
        write_json(
            folder / "tokenizer_config.json",
            _settings(checkpoint, tokenizer, is_sentencepiece=is_sentencepiece),
        )
    if not (folder / "generation_config.json").exists():
        write_json(folder / "generation_config.json", ids | {"eos_token_id": sorted(tokenizer.end_ids)})
    return ids


def _write_vocabulary(
    checkpoint: Checkpoint, source: TokenizerSource, folder: Path, *, keep_ranks: bool
) -> bool:
    """Write tokenizer.json or tokenizer.model; return whether it is a SentencePiece model."""
    if isinstance(source, TokenizersJson) or (keep_ranks and isinstance(source, TiktokenRanks)):
        shutil.copyfile(source.path, folder / source.path.name)
        return False
    if isinstance(source, SentencePieceModel | Llama2cVocabulary):
        (folder / "tokenizer.model").write_bytes(model_bytes(source))
        return True
    vocab_size = checkpoint.hyperparameters["vocab_size"]
    assert isinstance(vocab_size, int)
    vocabulary = gguf_vocabulary_of(source, vocab_size)
    assert isinstance(vocabulary, GGUFVocabulary)
    if vocabulary.model == "llama":
        (folder / "tokenizer.model").write_bytes(model_bytes(vocabulary))
        return True
    (folder / "tokenizer.json").write_text(tokenizer_json(vocabulary), "utf-8")
    return False


def _settings(checkpoint: Checkpoint, tokenizer: Tokenizer, *, is_sentencepiece: bool) -> dict[str, object]:
    roles = {
        "bos_token": tokenizer.bos_id,
        "eos_token": tokenizer.eos_id,
        "unk_token": tokenizer.unk_id,
        "pad_token": tokenizer.pad_id,
    }
    added = {
        str(token_id): {"content": text, "special": True, "normalized": False}
        for text, token_id in sorted(tokenizer.special_tokens.items(), key=lambda item: item[1])
    }
    settings: dict[str, object] = {
        "tokenizer_class": "LlamaTokenizer" if is_sentencepiece else "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "add_bos_token": tokenizer.adds_bos,
        "add_eos_token": False,
        "model_max_length": checkpoint.hyperparameters["context_length"],
        "added_tokens_decoder": added,
        **{role: tokenizer.piece(token_id) for role, token_id in roles.items() if token_id is not None},
    }
    if checkpoint.chat_template is not None:
        settings["chat_template"] = checkpoint.chat_template
    return settings
