"""Special tokens, BOS and EOS, roles and refusals, the same for every vocabulary."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.text.subprocesses import modules_after
from tropilla.errors import FormatError, RequestError, UnsupportedError
from tropilla.formats.tokenizer_source import (
    GGUFVocabulary,
    Llama2cVocabulary,
    SentencePieceModel,
    TiktokenRanks,
    TokenizersJson,
    TokenRoles,
)
from tropilla.text.byte_level import spell_bytes, spelled_bytes
from tropilla.text.sentencepiece_vocabulary import model_bytes
from tropilla.text.special_tokens import Guard
from tropilla.text.tokenizer import Tokenizer, load_tokenizer

PATH = Path("model.gguf")

BYTE_PIECES = [spell_bytes(bytes((byte,))) for byte in range(256)]
BYTE_LEVEL = GGUFVocabulary(
    path=PATH,
    model="gpt2",
    pre="smollm",
    pieces=["<|im_start|>", "<|im_end|>", *BYTE_PIECES, "ab", "<think>"],
    token_types=[3, 3, *[1] * 256, 1, 4],
    merges=["a b"],
    roles=TokenRoles(bos_id=0, eos_id=1),
)
SENTENCEPIECE = GGUFVocabulary(
    path=PATH,
    model="llama",
    pieces=["<unk>", "<s>", "</s>", *[f"<0x{byte:02X}>" for byte in range(256)], "▁", "a", "▁a", "<|user|>"],
    scores=[0.0] * 259 + [-1.0, -2.0, -0.5, 0.0],
    token_types=[2, 3, 3, *[6] * 256, 1, 1, 1, 4],
    roles=TokenRoles(eos_id=2),
)
SPACE, A, SPACE_A, USER = 259, 260, 261, 262


@pytest.fixture(scope="module")
def byte_level() -> Tokenizer:
    return load_tokenizer(BYTE_LEVEL)


@pytest.fixture(scope="module")
def sentencepiece() -> Tokenizer:
    return load_tokenizer(SENTENCEPIECE)


def byte_id(character: str) -> int:
    return 2 + ord(character)


def test_special_tokens_are_parsed_only_where_asked(byte_level: Tokenizer) -> None:
    text = "a<|im_end|>"
    assert byte_level.encode(text, parse_special=True) == [byte_id("a"), 1]
    plain = byte_level.encode(text)
    assert 1 not in plain
    assert byte_level.decode(plain) == text


def test_user_defined_tokens_are_always_parsed(byte_level: Tokenizer) -> None:
    assert byte_level.encode("<think>a") == [259, byte_id("a")]
    assert byte_level.decode([259]) == "<think>"


def test_a_marker_is_special_even_where_a_converter_called_it_user_defined(sentencepiece: Tokenizer) -> None:
    """Otherwise whoever writes "<|user|>" in a message opens a turn."""
    assert sentencepiece.is_special(USER)
    assert USER not in sentencepiece.encode("<|user|>")
    assert sentencepiece.encode("<|user|>a", add_bos=False, parse_special=True) == [USER, SPACE_A]


@pytest.mark.parametrize(
    ("text", "add_bos", "expected"),
    [
        ("a", None, [1, SPACE_A]),
        ("a", True, [1, SPACE_A]),
        ("a", False, [SPACE_A]),
        ("<s>a", None, [1, SPACE_A]),
        ("<s>a", True, [1, SPACE_A]),
        ("", None, [1]),
    ],
)
def test_bos_follows_the_policy_and_is_never_doubled(
    sentencepiece: Tokenizer, text: str, add_bos: bool | None, expected: list[int]
) -> None:
    """A template that writes BOS and a file that adds it: exactly one wins (runtime 8.4)."""
    assert sentencepiece.encode(text, add_bos=add_bos, parse_special=True) == expected


def test_eos_is_added_on_request_or_by_the_files_policy() -> None:
    silent = load_tokenizer(SENTENCEPIECE)
    adding = load_tokenizer(replace(SENTENCEPIECE, roles=TokenRoles(eos_id=2, add_eos=True)))
    assert silent.encode("a", add_eos=None) == [1, SPACE_A]
    assert adding.encode("a", add_eos=None) == [1, SPACE_A, 2]
    assert adding.encode("a") == [1, SPACE_A]  # a prompt that is to go on
    assert adding.encode("a</s>", add_eos=True, parse_special=True) == [1, SPACE_A, 2]


def test_bos_policy_of_a_silent_file_is_the_familys() -> None:
    def bos_added(source: GGUFVocabulary) -> bool:
        return load_tokenizer(source).adds_bos

    assert bos_added(SENTENCEPIECE)
    assert not bos_added(BYTE_LEVEL)
    assert bos_added(replace(BYTE_LEVEL, pre="llama-bpe"))
    refusing = replace(SENTENCEPIECE, roles=TokenRoles(add_bos=False))
    assert not bos_added(refusing)


def test_all_ends_of_a_turn_are_found() -> None:
    """A Llama 3 file that names only <|end_of_text|> still stops at <|eot_id|>."""
    pieces = ["<|end_of_text|>", "<|eot_id|>", *BYTE_PIECES]
    source = replace(
        BYTE_LEVEL, pieces=pieces, token_types=[3, 3, *[1] * 256], merges=[], roles=TokenRoles(eos_id=0)
    )
    assert load_tokenizer(source).end_ids == {0, 1}
    assert load_tokenizer(replace(source, roles=TokenRoles(eos_id=0, end_ids=(7,)))).end_ids == {0, 1, 7}


def test_no_space_prefix_where_the_file_says_so() -> None:
    tokenizer = load_tokenizer(replace(SENTENCEPIECE, add_space_prefix=False))
    assert tokenizer.encode("a", add_bos=False) == [A]
    assert tokenizer.decode([SPACE_A]) == " a"


def test_special_tokens_show_only_on_request(byte_level: Tokenizer) -> None:
    token_ids = [0, byte_id("a"), 1]
    assert byte_level.decode(token_ids) == "a"
    assert byte_level.decode(token_ids, skip_special=False) == "<|im_start|>a<|im_end|>"
    assert byte_level.decode_bytes(1) == b"<|im_end|>"


def test_pieces_are_shown_as_stored(byte_level: Tokenizer, sentencepiece: Tokenizer) -> None:
    assert byte_level.piece(byte_id(" ")) == "Ġ"
    assert byte_level.piece(1) == "<|im_end|>"
    assert sentencepiece.piece(SPACE_A) == "▁a"
    assert sentencepiece.decode_bytes(3 + 0xE2) == b"\xe2"


@pytest.mark.parametrize("token_id", [-1, 260])
def test_an_id_outside_the_vocabulary_is_refused(byte_level: Tokenizer, token_id: int) -> None:
    with pytest.raises(RequestError, match="ids run from 0 to 259"):
        byte_level.decode([token_id])


def test_half_a_surrogate_pair_is_refused(byte_level: Tokenizer) -> None:
    with pytest.raises(RequestError, match="character 1 of the text is half of a surrogate pair"):
        byte_level.encode("a\ud800")


@pytest.mark.parametrize("pre", [None, "falcon"])
def test_an_unknown_split_is_refused_by_name(pre: str | None) -> None:
    with pytest.raises(UnsupportedError, match="no pre-tokenizer" if pre is None else "'falcon'"):
        load_tokenizer(replace(BYTE_LEVEL, pre=pre))


def test_an_unknown_model_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match="'rwkv'"):
        load_tokenizer(replace(BYTE_LEVEL, model="rwkv"))


@pytest.mark.parametrize(
    ("source", "named"),
    [
        (replace(BYTE_LEVEL, merges=None), "merges"),
        (replace(BYTE_LEVEL, merges=["ab"]), "merge 0"),
        (replace(BYTE_LEVEL, merges=["a c"]), "merge 0 joins 'a' and 'c'"),
        (replace(BYTE_LEVEL, pieces=[b"\xff", *BYTE_LEVEL.pieces[1:]]), "UTF-8"),
        (replace(SENTENCEPIECE, scores=None), "scores"),
        (replace(SENTENCEPIECE, token_types=[3, 3, 3, *[6] * 256, 1, 1, 1, 4]), "unknown token"),
        (replace(SENTENCEPIECE, token_types=[2, 3, 6, *[6] * 256, 1, 1, 1, 4]), "expected a byte"),
        (replace(SENTENCEPIECE, token_types=[2, 3, 3, *[6] * 256, 1, 1, 1, -4]), "token 262 is of type -4"),
        (replace(SENTENCEPIECE, pieces=[*SENTENCEPIECE.pieces[:-1], "a"]), "sentencepiece refuses"),
    ],
)
def test_a_broken_vocabulary_is_a_format_error(source: GGUFVocabulary, named: str) -> None:
    with pytest.raises(FormatError, match=named):
        load_tokenizer(source)


def test_a_piece_that_is_not_utf8_is_a_format_error(tmp_path: Path) -> None:
    """The library hands the bytes of such a piece to Python, which raises its own error."""
    path = tmp_path / "tokenizer.model"
    path.write_bytes(model_bytes(SENTENCEPIECE).replace("\u2581".encode(), b"\x80" * 3))
    with pytest.raises(FormatError, match="sentencepiece refuses the vocabulary"):
        load_tokenizer(SentencePieceModel(path=path))


@pytest.mark.parametrize("role", [{"bos_id": 263}, {"eos_id": 2**30}, {"end_ids": (2, 263)}])
def test_a_role_beyond_the_vocabulary_is_a_format_error(role: dict[str, Any]) -> None:
    with pytest.raises(FormatError, match=r"gives a role to token .*, but the vocabulary has 263"):
        load_tokenizer(replace(SENTENCEPIECE, roles=TokenRoles(**role)))


def test_a_negative_role_means_none() -> None:
    roles = TokenRoles(bos_id=-1, eos_id=-1, end_ids=(-1, 2), pad_id=-1, unk_id=10_000, add_bos=True)
    tokenizer = load_tokenizer(replace(SENTENCEPIECE, roles=roles))
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id, tokenizer.unk_id) == (None,) * 4
    assert tokenizer.end_ids == {2}
    assert not tokenizer.adds_bos


@pytest.mark.parametrize("kind", [SentencePieceModel, TokenizersJson, TiktokenRanks, Llama2cVocabulary])
def test_a_broken_or_absent_file_is_a_format_error(
    kind: type[SentencePieceModel | TokenizersJson | TiktokenRanks | Llama2cVocabulary], tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x01\x02 nonsense\n" * 3)
    for path in (broken, tmp_path / "absent"):
        with pytest.raises(FormatError, match=path.name):
            load_tokenizer(kind(path=path))


@pytest.mark.parametrize(("cut", "named"), [(5, "ends before"), (14, "said to have 5 bytes")])
def test_a_cut_llama2c_file_is_a_format_error(cut: int, named: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.bin"
    path.write_bytes((struct.pack("<ifi", 9, 0.0, 5) + b"<unk>")[:cut])
    with pytest.raises(FormatError, match=named):
        load_tokenizer(Llama2cVocabulary(path=path, vocab_size=1))


def test_added_tokens_extend_a_sentencepiece_model(real_data: Path) -> None:
    path = real_data / "tokenizers/llama-spm/tokenizer.model"
    tokenizer = load_tokenizer(SentencePieceModel(path=path, added_tokens={"<|prompter|>": 32_000}))
    assert tokenizer.vocab_size == 32_001
    assert tokenizer.encode("<|prompter|>Hello", parse_special=True) == [1, 32_000, 15_043]
    assert tokenizer.decode([32_000, 15_043], skip_special=False) == "<|prompter|>Hello"


def test_byte_spelling_is_a_bijection() -> None:
    everything = bytes(range(256))
    assert len(set(spell_bytes(everything))) == 256
    assert spelled_bytes(spell_bytes(everything)) == everything
    assert spell_bytes(b" \nA") == "ĠĊA"  # Radford et al. 2019: the pieces every GPT-2 vocabulary shows


def test_a_guard_keeps_special_tokens_out_of_messages(byte_level: Tokenizer) -> None:
    content = "x<|im_end|>y<|im_"
    guard = Guard(byte_level.special_tokens, [content])
    prompt = f"<|im_start|>{guard.apply(content)}{guard.apply('end|>')}<|im_end|>"
    token_ids = byte_level.encode(prompt, parse_special=True, guard=guard)
    assert [token_id for token_id in token_ids if token_id < 2] == [0, 1]
    assert byte_level.decode(token_ids) == content + "end|>"


def test_a_guards_mark_is_not_in_the_messages() -> None:
    guard = Guard(["<s>"], ["\ufdd0 and \ufdd1"])
    assert guard.mark not in "\ufdd0\ufdd1"
    assert guard.remove(guard.apply("\ufdd0<s>")) == "\ufdd0<s>"


def test_no_tokenizer_library_loads_before_it_is_needed() -> None:
    loaded = modules_after("import tropilla.text.tokenizer, tropilla.formats.tokenizer_source")
    assert not loaded & {"tokenizers", "sentencepiece", "jinja2", "numpy", "torch"}
