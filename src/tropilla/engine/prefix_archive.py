"""The prefix cache that outlives the engine: full blocks of finished sequences, on disk.

A block's name there covers, beside its tokens and all before them, everything that its content depends
on: the weights, their shape, the instruction set, how keys and values are laid out, and the compiled
code that computed them.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from tropilla import _native
from tropilla.engine.executor import CPUExecutor, native_shape
from tropilla.engine.kv_blocks import KVBlocks
from tropilla.engine.prefix_folder import PrefixFolder
from tropilla.engine.step_lock import StepLock
from tropilla.model.weights import ModelWeights

_log = logging.getLogger(__name__)
_NAME_BYTES = 16


class PrefixArchive:
    """Restore blocks from a folder, and write finished ones there in a thread of its own.

    lock: held by whoever changes blocks or computes; keep() and restore() are called under it.
    """

    def __init__(
        self, folder: PrefixFolder, key: bytes, executor: CPUExecutor, blocks: KVBlocks, lock: StepLock
    ) -> None:
        self._folder = folder
        self._key = key
        self._executor = executor
        self._blocks = blocks
        self._lock = lock
        self._guard = threading.Lock()  # of the two below
        self._pending: deque[tuple[bytes, int]] = deque()
        self._writer: threading.Thread | None = None
        self._failed = False  # said once, not after each answer

    def restore(self, name: bytes, block: int) -> bool:
        """Fill a block with the content of that name, if the folder has it."""
        content = self._folder.load(self._name_on_disk(name))
        return content is not None and self._executor.write_block(block, content)

    def keep(self, names: Sequence[bytes], blocks: Sequence[int]) -> None:
        """Have the full blocks of a finished sequence written, but for those that are reused before."""
        with self._guard:
            # The last first: a block is of no use without those before it, so they count as used later.
            self._pending.extend(reversed(list(zip(names, blocks, strict=False))))
            if self._pending and self._writer is None:
                # Not a daemon: what is pending is still written when the interpreter ends.
                self._writer = threading.Thread(target=self._write_pending, name="tropilla-prefixes")
                self._writer.start()

    def close(self) -> None:
        """Wait until all that is pending is written; not under the lock."""
        writer = self._writer
        if writer is not None:
            writer.join()

    def _write_pending(self) -> None:
        while True:
            with self._guard:
                if not self._pending:
                    self._writer = None
                    return
                name, block = self._pending.popleft()
            try:
                self._write(name, block)
            except OSError as error:  # a cache that cannot be written costs time, not answers
                if not self._failed:
                    _log.warning("the prefix cache cannot be written: %s", _words(error))
                self._failed = True
                with self._guard:
                    self._pending.clear()

    def _write(self, name: bytes, block: int) -> None:
        name_on_disk = self._name_on_disk(name)
        if self._folder.touch(name_on_disk):
            return
        with self._lock:
            content = self._executor.read_block(block) if self._blocks.holds(block, name) else None
        if content is not None:
            self._folder.save(name_on_disk, content)

    def _name_on_disk(self, name: bytes) -> bytes:
        return hashlib.blake2b(name, key=self._key, digest_size=_NAME_BYTES).digest()


def open_archive(
    folder: Path,
    limit_bytes: int,
    weights: ModelWeights,
    kv_type: str,
    executor: CPUExecutor,
    blocks: KVBlocks,
    lock: StepLock,
) -> PrefixArchive | None:
    """Return the archive of an engine, or None, with a warning, where the folder cannot be made."""
    try:
        files = PrefixFolder(folder, limit_bytes)
    except OSError as error:
        _log.warning("the prefix cache cannot be used: %s", _words(error))
        return None
    return PrefixArchive(files, _key(weights, kv_type, executor.isa), executor, blocks, lock)


def _words(error: OSError) -> str:
    what = error.strerror or str(error)
    return f"{error.filename}: {what}" if error.filename else what


def _key(weights: ModelWeights, kv_type: str, isa: str) -> bytes:
    """Return what the names on disk depend on besides tokens; reads all weights once."""
    digest = hashlib.blake2b(digest_size=32)
    code = Path(_native.__file__ or "").read_bytes()
    shape = native_shape(weights)  # its rotations are worked out by code that is not in the extension
    rotations = (shape.inv_freq, shape.attention_factor)
    parts = (weights.config, rotations, kv_type, isa, _native.KV_BLOCK_TOKENS, _native.content_hash(code))
    digest.update(repr(parts).encode())
    for name in sorted(weights.tensors):
        tensor = weights.tensors[name]
        content = _native.content_hash(tensor.data)
        digest.update(repr((name, int(tensor.type), tensor.shape, content)).encode())
        tensor.release()
    return digest.digest()
