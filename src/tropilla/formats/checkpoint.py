"""Open any model file or folder that Tropilla reads, whatever it is called and however it is laid out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal

from tropilla.errors import FormatError
from tropilla.formats.tensors import Tensors
from tropilla.formats.tokenizer_source import TokenizerSource

# GGUF's predecessors too: its reader says what they are.
_GGUF_MAGICS = (b"GGUF", b"lmgg", b"fmgg", b"tjgg")

Format = Literal["GGUF", "Hugging Face", "Meta", "llama2.c"]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Hold an open model: what it is, its weights, and what its file says about text.

    hyperparameters: keyed by the fields of `LlamaConfig`; types and ranges are checked, and
    `rope_scaling` is a mapping with the fields of `RopeScaling`, or None.
    tensors: canonical names, q and k rows in Meta's interleaved order; valid until `close`.
    tokenizer: None where the source brings none.
    metadata: "name", "license", "file_type" and the like, as far as the source says them.
    """

    path: Path
    format: Format
    architecture: str  # a key of names.ARCHITECTURES
    hyperparameters: Mapping[str, object]
    tensors: Tensors
    tokenizer: TokenizerSource | None
    chat_template: str | None
    metadata: Mapping[str, object]
    on_close: Callable[[], None] = field(repr=False)

    @property
    def name(self) -> str:
        """Return the path, as errors name it."""
        return str(self.path)

    def close(self) -> None:
        """Unmap the files; tensors must not be used afterwards."""
        self.on_close()

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Open a GGUF file, a Hugging Face or Meta folder, or a llama2.c v0 file.

    Raises FormatError for damaged or unrecognised input, UnsupportedError for a sound file of an
    architecture or layout that Tropilla does not run.
    """
    path = Path(path)
    if not path.exists():
        raise FormatError(path, "there is no such file or folder; check the path")
    return _reader(path)(path)


def _reader(path: Path) -> Callable[[Path], Checkpoint]:
    # Imported here: each reader costs start-up time that only its own format should pay.
    if path.is_file() and (path.suffix == ".gguf" or _magic(path) in _GGUF_MAGICS):
        from tropilla.formats.gguf_checkpoint import open_gguf

        return open_gguf
    if (path / "params.json").is_file() or path.suffix in (".pth", ".pt"):
        from tropilla.formats.meta import open_meta

        return open_meta
    if (path / "config.json").is_file() or path.name.endswith((".safetensors", ".safetensors.index.json")):
        from tropilla.formats.huggingface import open_hugging_face

        return open_hugging_face
    if path.suffix == ".bin" and path.is_file():
        from tropilla.formats.llama2c import open_llama2c

        return open_llama2c
    raise FormatError(path, _unrecognised(path))


def _magic(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def _unrecognised(path: Path) -> str:
    if path.is_dir():
        return (
            "this folder holds no model: expected config.json (Hugging Face), params.json (Meta) "
            "or name a .gguf file in it"
        )
    if path.stat().st_size == 0:
        return "the file is empty; was its download cut off?"
    return "not a model file that Tropilla knows: expected a GGUF, .safetensors, .pth or llama2.c .bin file"
