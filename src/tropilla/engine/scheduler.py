"""Decide which tokens of which sequences the next step computes.

Sequences that are already answering go first, one token each; the rest of the step is filled with
pieces of prompts, oldest first. A sequence gets the blocks for all that it has to read when it is
admitted. When an answer needs one more block and none is left, the youngest sequence gives its own
back and is read again later; as results do not depend on how tokens were batched, that changes
nothing but time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tropilla.engine.kv_blocks import KVBlocks, block_hash
from tropilla.engine.sequence import Goal, LiveSequence

if TYPE_CHECKING:
    from tropilla.engine.prefix_archive import PrefixArchive


@dataclass(frozen=True, slots=True)
class Span:
    """Say that n_own of a sequence's tokens, from start on, are in the step, and a proposal after them."""

    sequence: LiveSequence
    start: int
    n_own: int
    proposal: tuple[int, ...] = ()  # what may be drawn next, to be drawn after in the same step

    @property
    def token_ids(self) -> list[int]:
        """Return the tokens, proposed ones included."""
        return [*self.sequence.token_ids[self.start : self.start + self.n_own], *self.proposal]

    @property
    def n_tokens(self) -> int:
        """Return how many tokens the step computes, proposed ones included."""
        return self.n_own + len(self.proposal)

    @property
    def reaches_end(self) -> bool:
        """Return whether these are the sequence's last tokens, so that a next one can be drawn."""
        return self.start + self.n_own == len(self.sequence.token_ids)

    @property
    def draws(self) -> bool:
        """Return whether the sequence draws after these tokens."""
        return self.reaches_end and self.sequence.goal is Goal.GENERATE


def next_span(sequence: LiveSequence, room: int) -> Span:
    """Return the tokens that a sequence has to read next, room of them at most."""
    return Span(sequence, sequence.n_cached, min(sequence.n_pending, room))


class Scheduler:
    """Keep the waiting and the running sequences and their blocks."""

    def __init__(
        self, blocks: KVBlocks, *, max_batch: int, prefill_chunk: int, archive: PrefixArchive | None = None
    ) -> None:
        """archive: where blocks outlive the engine."""
        self.blocks = blocks
        self.archive = archive
        self.max_batch = max_batch
        self.prefill_chunk = prefill_chunk
        self.waiting: deque[LiveSequence] = deque()
        self.running: list[LiveSequence] = []  # oldest first
        self.n_preempted = 0

    def schedule(self) -> list[Span]:
        """Choose the next step's spans; empty when there is nothing to do.

        The choice alone changes no sequence's tokens: a step that was cut short is scheduled again.
        """
        spans = self._decode_spans()
        room = self.prefill_chunk
        for sequence in self.running:
            if sequence.n_pending > 1 and room:
                spans.append(next_span(sequence, room))
                room -= spans[-1].n_own
        while room and self.waiting and self.admit(self.waiting[0]):
            sequence = self.waiting.popleft()
            spans.append(next_span(sequence, room))
            room -= spans[-1].n_own
        return spans

    def committed(self, span: Span, n_accepted: int = 0) -> None:
        """Note that a span's own tokens were computed and n_accepted proposed ones became the sequence's.

        Makes the blocks that are full of these findable. What else was proposed is written over.
        """
        sequence = span.sequence
        sequence.n_cached += span.n_own + n_accepted
        n_full = sequence.n_cached // self.blocks.block_tokens
        for index in range(len(sequence.hashes), n_full):
            parent = sequence.hashes[-1] if index else sequence.hash_root
            sequence.hashes.append(self._name(sequence, index, parent))
            self.blocks.name(sequence.blocks[index], sequence.hashes[index])

    def room_ahead(self, sequence: LiveSequence, n_tokens: int) -> int:
        """Return how many tokens, n_tokens at most, a running sequence has blocks for after its own.

        Allocates them where no other sequence needs them soon.
        """
        block_tokens = self.blocks.block_tokens
        missing = self.blocks.blocks_for(len(sequence.token_ids) + n_tokens) - len(sequence.blocks)
        spare = self.blocks.n_free - len(self.running)
        sequence.blocks.extend(self.blocks.allocate() for _ in range(min(missing, spare)))
        return min(n_tokens, len(sequence.blocks) * block_tokens - len(sequence.token_ids))

    def retire(self, sequence: LiveSequence) -> None:
        """Take a sequence out, waiting or running, and let go of its blocks."""
        for queue in (self.running, self.waiting):
            if sequence in queue:
                queue.remove(sequence)
        if self.archive is not None:
            self.archive.keep(sequence.hashes, sequence.blocks)
        self._let_go(sequence)

    def rewind(self, sequence: LiveSequence, n_tokens: int) -> None:
        """Take back a sequence's last tokens and let it run on, or again if it had ended.

        It is admitted anew, so that no block which others may share is ever written again.
        """
        del sequence.token_ids[len(sequence.token_ids) - n_tokens :]
        self._put_back(sequence)

    def _decode_spans(self) -> list[Span]:
        spans = []
        for sequence in list(self.running):
            if sequence in self.running and sequence.n_pending == 1 and self._make_room(sequence):
                spans.append(next_span(sequence, 1))
        return [span for span in spans if span.sequence in self.running]

    def _make_room(self, sequence: LiveSequence) -> bool:
        """Get a block for one more token, at the cost of younger sequences, or of this one."""
        while not self._extend(sequence):
            youngest = self.running[-1]
            self._put_back(youngest)
            self.n_preempted += 1
            if youngest is sequence:
                return False
        return True

    def _put_back(self, sequence: LiveSequence) -> None:
        """Let a sequence be the next to be admitted, and read again."""
        self.retire(sequence)
        sequence.forget_results()
        self.waiting.appendleft(sequence)

    def _extend(self, sequence: LiveSequence) -> bool:
        """Allocate the blocks that a sequence's tokens still need; False if they are not free."""
        missing = self.blocks.blocks_for(len(sequence.token_ids)) - len(sequence.blocks)
        if missing > self.blocks.n_free:
            return False
        sequence.blocks.extend(self.blocks.allocate() for _ in range(missing))
        return True

    def admit(self, sequence: LiveSequence) -> bool:
        """Let a sequence run: give it its blocks, those of a known prefix first; False if it must wait."""
        if len(self.running) == self.max_batch:
            return False
        self._reuse_prefix(sequence)
        # Each running answer may need a block soon; taking the last ones would only be undone.
        missing = self.blocks.blocks_for(len(sequence.token_ids)) - len(sequence.blocks)
        if missing + len(self.running) <= self.blocks.n_free and self._extend(sequence):
            self._restore_prefix(sequence)
            self.running.append(sequence)
            return True
        assert self.running, "a waiting sequence must fit an empty engine"
        self._let_go(sequence)
        return False

    def _reuse_prefix(self, sequence: LiveSequence) -> None:
        """Hold what the cache knows of a sequence's start, leaving at least one token to read."""
        sequence.blocks = self.blocks.hold_prefix(self._prefix_names(sequence))
        sequence.hashes = [self.blocks.name_of(block) for block in sequence.blocks]
        sequence.n_cached = len(sequence.blocks) * self.blocks.block_tokens

    def _restore_prefix(self, sequence: LiveSequence) -> None:
        """Go on where the blocks in memory end with those that the archive has."""
        if self.archive is None:
            return
        for index, name in enumerate(self._prefix_names(sequence)):
            if index < len(sequence.hashes):
                continue
            if not self.archive.restore(name, sequence.blocks[index]):
                break
            sequence.hashes.append(name)
            self.blocks.name(sequence.blocks[index], name)
        sequence.n_cached = len(sequence.hashes) * self.blocks.block_tokens

    def _prefix_names(self, sequence: LiveSequence) -> Iterator[bytes]:
        """Name the full blocks that need not be read if they are known."""
        n_blocks = min(sequence.wanted_from, len(sequence.token_ids) - 1) // self.blocks.block_tokens
        name = sequence.hash_root
        for index in range(n_blocks):
            name = self._name(sequence, index, name)
            yield name

    def _name(self, sequence: LiveSequence, index: int, parent: bytes) -> bytes:
        start = index * self.blocks.block_tokens
        return block_hash(parent, sequence.token_ids[start : start + self.blocks.block_tokens])

    def _let_go(self, sequence: LiveSequence) -> None:
        self.blocks.release(sequence.blocks)
        sequence.blocks.clear()
        sequence.hashes.clear()
        sequence.n_cached = 0
