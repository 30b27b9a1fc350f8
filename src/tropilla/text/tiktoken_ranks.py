"""Llama 3's own `tokenizer.model`: byte strings and ranks, one base64 line each.

Rank BPE joins the neighbours whose joined bytes have the lowest rank. Each token of two bytes or more is
only ever made from one pair: the two that are left when its own bytes are joined under the ranks below
it, for nothing outside a span changes what happens inside it. So one merge for each token, in order of
rank, gives exactly the same ids.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

from tropilla.errors import FormatError
from tropilla.formats.tokenizer_source import TiktokenRanks
from tropilla.text.byte_level import LLAMA3, ByteLevelVocabulary, Entries, Loaded, fill_roles, spell_bytes
from tropilla.text.vocabulary_file import read_vocabulary_file

_N_SPECIALS = 256
# Named in Llama 3.1's model card; the ids between them, and after them, are reserved.
_NAMED_SPECIALS = {
    0: "<|begin_of_text|>",
    1: "<|end_of_text|>",
    4: "<|finetune_right_pad_id|>",
    6: "<|start_header_id|>",
    7: "<|end_header_id|>",
    8: "<|eom_id|>",
    9: "<|eot_id|>",
    10: "<|python_tag|>",
}


def load(source: TiktokenRanks) -> Loaded:
    """Build Llama 3's vocabulary from its ranks; raises FormatError for a line that is not one."""
    entries = read_entries(source)
    specials = entries.specials
    roles = replace(
        source.roles,
        bos_id=specials["<|begin_of_text|>"] if source.roles.bos_id is None else source.roles.bos_id,
        eos_id=specials["<|end_of_text|>"] if source.roles.eos_id is None else source.roles.eos_id,
    )
    return Loaded(ByteLevelVocabulary(LLAMA3, entries), fill_roles(roles, LLAMA3))


def read_entries(source: TiktokenRanks) -> Entries:
    """Return the vocabulary with one merge for each token; raises FormatError for a line that is not one."""
    ranks = _read_ranks(source)
    specials = special_tokens(len(ranks))
    return Entries(
        ids={spell_bytes(data): rank for data, rank in ranks.items()},
        merges=_merges(ranks),
        specials=specials,
        literal={},
        vocab_size=len(ranks) + len(specials),
    )


def special_tokens(first_id: int) -> dict[str, int]:
    """Return Llama 3.1's special tokens, which follow the ranks from first_id on."""
    reserved = (f"<|reserved_special_token_{n}|>" for n in range(_N_SPECIALS))
    return {_NAMED_SPECIALS.get(n) or next(reserved): first_id + n for n in range(_N_SPECIALS)}


def _read_ranks(source: TiktokenRanks) -> dict[bytes, int]:
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(read_vocabulary_file(source.path).splitlines()):
        encoded, _, rank = line.partition(b" ")
        try:
            data = binascii.a2b_base64(encoded, strict_mode=True)
            if int(rank) != number or not data or data in ranks:
                raise ValueError("ranks must count up from 0 without a gap, each for a new byte string")
        except ValueError as error:  # binascii.Error is one
            raise FormatError(source.path, f"line {number + 1} is {line[:60]!r}: {error}") from None
        ranks[data] = number
    missing = [byte for byte in range(256) if bytes((byte,)) not in ranks]
    if missing:
        raise FormatError(source.path, f"has no rank for byte {missing[0]}, so some texts have no ids")
    return ranks


def _merges(ranks: Mapping[bytes, int]) -> list[tuple[str, str]]:
    pairs = (_last_pair(data, rank, ranks) for data, rank in ranks.items() if len(data) > 1)
    return [(spell_bytes(left), spell_bytes(right)) for left, right in filter(None, pairs)]


def _last_pair(data: bytes, own_rank: int, ranks: Mapping[bytes, int]) -> tuple[bytes, bytes] | None:
    """Return the two parts of a token just before they are joined; None if rank BPE never gets there."""
    cuts = [at for at in range(1, len(data)) if data[:at] in ranks and data[at:] in ranks]
    if len(cuts) > 1:
        return _joined_to_two(data, own_rank, ranks)
    return (data[: cuts[0]], data[cuts[0] :]) if cuts else None


def _joined_to_two(data: bytes, own_rank: int, ranks: Mapping[bytes, int]) -> tuple[bytes, bytes] | None:
    parts = [data[at : at + 1] for at in range(len(data))]
    while len(parts) > 2:
        joined = [ranks.get(left + right, own_rank) for left, right in pairwise(parts)]
        lowest = min(joined)
        if lowest >= own_rank:
            return None
        at = joined.index(lowest)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts[0], parts[1]
