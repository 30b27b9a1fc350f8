"""Numbers with units, as people type and read them."""

from __future__ import annotations

import argparse
import re

_FACTORS = {"": 1e9, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
_BINARY_FACTORS = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_QUANTITY = re.compile(r"([\d.]+)\s*([kmgt]?i?)b?(/s)?", re.IGNORECASE)


def bytes_from(text: str) -> float:
    """Return the bytes that "16GB", "16GiB", "900 MB" or, in gigabytes, "16" mean."""
    match = _QUANTITY.fullmatch(text.strip())
    factor = (_FACTORS | _BINARY_FACTORS).get(match[2].lower()) if match else None
    try:
        if match and factor:
            return float(match[1]) * factor
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not a size; write it like 16GB or 900MB")


def human_count(count: float) -> str:
    """Return a number of weights as people write it: 135 M, 8.03 B."""
    for factor, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= factor * 0.9995:
            return f"{count / factor:.3g} {unit}"
    return f"{count:.0f}"
