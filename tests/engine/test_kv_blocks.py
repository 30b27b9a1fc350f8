"""Blocks of the cache: shared when full and equal, forgotten last when still of use."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tropilla.engine.kv_blocks import KVBlocks, block_hash


def names_of(*token_ids: int, root: bytes = b"") -> list[bytes]:
    """Return the names of a chain of blocks, here of one token each."""
    names = []
    for token_id in token_ids:
        root = block_hash(root, [token_id])
        names.append(root)
    return names


def filled(blocks: KVBlocks, names: list[bytes]) -> list[int]:
    """Allocate and name a chain of blocks."""
    held = [blocks.allocate() for _ in names]
    for block, name in zip(held, names, strict=True):
        blocks.name(block, name)
    return held


def test_names_tell_everything_before_apart() -> None:
    assert names_of(1, 2)[1] != names_of(3, 2)[1]
    assert names_of(1, 2)[1] != names_of(2)[0]
    assert names_of(1)[0] != names_of(1, root=b"adapter")[0]
    assert block_hash(b"", [1, 2]) != block_hash(b"", [2, 1])
    assert names_of(1, 2) == names_of(1, 2)


@pytest.mark.parametrize(("n_tokens", "n_blocks"), [(0, 0), (1, 1), (31, 1), (32, 1), (33, 2), (64, 2)])
def test_blocks_for(n_tokens: int, n_blocks: int) -> None:
    assert KVBlocks(4, 32).blocks_for(n_tokens) == n_blocks


def test_every_block_is_handed_out_once() -> None:
    blocks = KVBlocks(5, 1)
    assert sorted(blocks.allocate() for _ in range(5)) == [0, 1, 2, 3, 4]
    assert blocks.n_free == 0


def test_a_prefix_is_found_while_held_and_after() -> None:
    blocks = KVBlocks(8, 1)
    first = filled(blocks, names_of(1, 2, 3))
    assert blocks.hold_prefix(names_of(1, 2, 9)) == first[:2]
    blocks.release(first)
    blocks.release(first[:2])
    assert (blocks.n_cached, blocks.n_free) == (3, 8)
    assert blocks.hold_prefix(names_of(1, 2, 3, 4)) == first
    assert blocks.n_free == 5


def test_a_gap_ends_the_prefix() -> None:
    blocks = KVBlocks(8, 1)
    names = names_of(1, 2, 3)
    held = [blocks.allocate() for _ in names]
    blocks.name(held[0], names[0])
    blocks.name(held[2], names[2])
    assert blocks.hold_prefix(names) == held[:1]


def test_unnamed_blocks_are_empty_again() -> None:
    blocks = KVBlocks(2, 1)
    blocks.release([blocks.allocate()])
    assert (blocks.n_cached, blocks.n_free) == (0, 2)


@pytest.mark.parametrize(
    ("n_wanted", "kept"), [(0, (2, 2)), (1, (1, 2)), (2, (0, 2)), (3, (0, 1)), (4, (0, 0))]
)
def test_the_longest_unused_is_forgotten_first_and_ends_before_starts(
    n_wanted: int, kept: tuple[int, int]
) -> None:
    blocks = KVBlocks(4, 1)
    old, new = names_of(1, 2), names_of(3, 4)
    for names in (old, new):
        blocks.release(filled(blocks, names))
    for _ in range(n_wanted):
        blocks.allocate()
    assert (len(blocks.hold_prefix(old)), len(blocks.hold_prefix(new))) == kept


def test_use_makes_a_prefix_young_again() -> None:
    blocks = KVBlocks(2, 1)
    for names in (names_of(1), names_of(2)):
        blocks.release(filled(blocks, names))
    blocks.release(blocks.hold_prefix(names_of(1)))
    blocks.allocate()
    assert blocks.hold_prefix(names_of(2)) == []
    assert len(blocks.hold_prefix(names_of(1))) == 1


def test_the_first_block_of_a_name_keeps_it() -> None:
    """Two sequences may compute the same block at the same time; the second copy is just freed."""
    blocks = KVBlocks(4, 1)
    first, second = filled(blocks, names_of(1)), filled(blocks, names_of(1))
    blocks.release(second)
    assert blocks.n_cached == 0
    assert blocks.hold_prefix(names_of(1)) == first


@given(st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 2), min_size=1, max_size=4)), max_size=40))
def test_blocks_are_conserved(work: list[tuple[bool, list[int]]]) -> None:
    """Against a plain count: whatever is asked, held + free = all, and no block has two owners."""
    blocks = KVBlocks(6, 1)
    owners: list[list[int]] = []
    for let_go, token_ids in work:
        if let_go and owners:
            blocks.release(owners.pop(0))
        elif len(token_ids) <= blocks.n_free:
            names = names_of(*token_ids)
            held = blocks.hold_prefix(names)
            if len(names) - len(held) > blocks.n_free:
                blocks.release(held)
                continue
            owners.append(held + [blocks.allocate() for _ in names[len(held) :]])
            for block, name in zip(owners[-1], names, strict=True):
                blocks.name(block, name)
        in_use = {block for held in owners for block in held}
        assert blocks.n_free == 6 - len(in_use)
