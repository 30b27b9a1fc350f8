"""Bring a model from one file format into another, weights and tokenizer alike."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from tropilla.errors import OptionError, UnsupportedError
from tropilla.events import Event
from tropilla.formats.checkpoint import Checkpoint, open_checkpoint
from tropilla.formats.tensor_types import TensorType
from tropilla.quant.destination import check_destination
from tropilla.quant.gguf_output import write_gguf
from tropilla.quant.huggingface_output import write_hugging_face
from tropilla.quant.llama2c_output import write_llama2c
from tropilla.quant.meta_output import write_meta
from tropilla.quant.target_types import FLOAT_TYPES, Mix, type_by_name

Target = Literal["gguf", "huggingface", "meta", "llama2c"]
_Write = Callable[[Checkpoint, Path, TensorType | None], Iterator[Event]]
_WRITERS: Mapping[Target, _Write] = {
    "gguf": write_gguf,
    "huggingface": write_hugging_face,
    "meta": write_meta,
    "llama2c": write_llama2c,
}
TARGETS = tuple(_WRITERS)


def convert(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    to: Target | None = None,
    type: str | TensorType | None = None,
    overwrite: bool = False,
) -> Iterator[Event]:
    """Write source in another format; weights keep their types, so that no bit of them changes.

    to: the target format; by default a name in .gguf is GGUF, one in .bin llama2.c, else a Hugging Face
    folder. type: F32, F16 or BF16 to store the matrices in; formats without quantized types get F32.
    Raises OptionError or UnsupportedError before any work if the target cannot hold the model.
    """
    target = to or _target_of(Path(destination))
    wanted = _float_type(type)
    check_destination(Path(source), Path(destination), overwrite=overwrite)
    with open_checkpoint(source) as checkpoint:
        yield from _WRITERS[target](checkpoint, Path(destination), wanted)


def _target_of(destination: Path) -> Target:
    by_suffix: Mapping[str, Target] = {".gguf": "gguf", ".bin": "llama2c"}
    if destination.suffix in (".safetensors", ".pth", ".pt"):
        raise OptionError(f"{destination}: name the folder to write, not a file in it")
    return by_suffix.get(destination.suffix, "huggingface")


def _float_type(wanted: str | TensorType | None) -> TensorType | None:
    if wanted is None:
        return None
    found = wanted if isinstance(wanted, TensorType) else type_by_name(wanted)
    if isinstance(found, Mix) or found not in FLOAT_TYPES:
        raise UnsupportedError(f"convert writes F32, F16 or BF16; for {found.name} use quantize")
    return found
