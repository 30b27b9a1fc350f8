"""Pages of the key-value cache: which are free, which are held, which tokens a full one belongs to."""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence

_DIGEST_BYTES = 16


def block_hash(parent: bytes, token_ids: Sequence[int]) -> bytes:
    """Name a full block by its tokens and, through its parent's name, by all tokens before them.

    parent: the name of the block before, or a root that says under which weights the keys were
    computed, so that sequences with different adapters never share.
    """
    return hashlib.blake2b(array("i", token_ids).tobytes(), key=parent, digest_size=_DIGEST_BYTES).digest()


class KVBlocks:
    """Hand out blocks; keep the full ones of finished sequences until their room is needed.

    Sequences share a full block when all tokens up to its end are equal; it is never written again.
    """

    def __init__(self, n_blocks: int, block_tokens: int) -> None:
        self.n_blocks = n_blocks
        self.block_tokens = block_tokens
        self._empty = list(range(n_blocks - 1, -1, -1))
        self._holders = [0] * n_blocks
        self._hash_of: dict[int, bytes] = {}
        self._block_of: dict[bytes, int] = {}
        self._unheld: OrderedDict[int, None] = OrderedDict()  # full, named, held by none; oldest first

    @property
    def n_free(self) -> int:
        """Return how many blocks allocate() can still hand out."""
        return len(self._empty) + len(self._unheld)

    @property
    def n_cached(self) -> int:
        """Return how many blocks no sequence holds but a later one may find again."""
        return len(self._unheld)

    def blocks_for(self, n_tokens: int) -> int:
        """Return how many blocks n_tokens take."""
        return -(-n_tokens // self.block_tokens)

    def allocate(self) -> int:
        """Hold a block with undefined content, forgetting the longest unused one if need be."""
        assert self.n_free, "the scheduler allocates only what is free"
        if self._empty:
            block = self._empty.pop()
        else:
            block, _ = self._unheld.popitem(last=False)
            self._forget(block)
        self._holders[block] = 1
        return block

    def hold_prefix(self, hashes: Iterable[bytes]) -> list[int]:
        """Hold the blocks of the longest run of names from the start that are all known."""
        held = []
        for name in hashes:
            block = self._block_of.get(name)
            if block is None:
                break
            self._holders[block] += 1
            self._unheld.pop(block, None)
            held.append(block)
        return held

    def name_of(self, block: int) -> bytes:
        """Return the name of a block that hold_prefix() returned."""
        return self._hash_of[block]

    def holds(self, block: int, name: bytes) -> bool:
        """Return whether that is what a block is full of."""
        return self._hash_of.get(block) == name

    def name(self, block: int, name: bytes) -> None:
        """Say which tokens a held block is full of; the first block of a name keeps it."""
        if name not in self._block_of:
            self._block_of[name] = block
            self._hash_of[block] = name

    def release(self, blocks: Sequence[int]) -> None:
        """Let go of a sequence's blocks, given in order; named ones stay findable.

        The last become the first to be forgotten: a block is of no use without those before it.
        """
        for block in reversed(blocks):
            self._holders[block] -= 1
            assert self._holders[block] >= 0, "a block was released twice"
            if self._holders[block] == 0:
                self._retire(block)

    def _retire(self, block: int) -> None:
        if block in self._hash_of:
            self._unheld[block] = None
        else:
            self._empty.append(block)

    def _forget(self, block: int) -> None:
        del self._block_of[self._hash_of.pop(block)]
