"""Quantize a model file by rounding each weight to the nearest value that its block can hold."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tropilla.events import Event
from tropilla.formats.checkpoint import open_checkpoint
from tropilla.formats.tensor_types import TensorType
from tropilla.quant.destination import check_destination
from tropilla.quant.gguf_output import write_gguf
from tropilla.quant.target_types import type_by_name


def quantize_file(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    type: str | TensorType,
    *,
    overwrite: bool = False,
) -> Iterator[Event]:
    """Write source, in any format that Tropilla reads, as a GGUF file whose matrices have one type.

    Vectors stay F32; rows that are no whole blocks become F16, which a Notice says. The file appears
    whole or not at all. Raises OptionError or UnsupportedError before any work if it cannot be done.
    """
    wanted = type if isinstance(type, TensorType) else type_by_name(type)
    type_by_name(wanted.name)
    check_destination(Path(source), Path(destination), overwrite=overwrite)
    with open_checkpoint(source) as checkpoint:
        yield from write_gguf(checkpoint, Path(destination), wanted)
