"""tropilla quantize: make a model smaller by storing its weights in fewer bits.

    tropilla quantize smollm2 smaller.gguf --type Q4_0

Bits a weight, scales included: F32 32, F16 and BF16 16, Q8_0 8.5, Q5_1 6, Q5_0 5.5, Q4_1 5, Q4_0 4.5.
Vectors stay F32. The source may be any file or folder that Tropilla reads.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tropilla.cli.progress import show
from tropilla.hub.disk import human_bytes
from tropilla.hub.library import resolve


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("source", help="a name of your library, a model file or a model folder")
    parser.add_argument("destination", type=Path, help="the .gguf file to write")
    parser.add_argument("--type", required=True, help="F32, F16, BF16, Q8_0, Q5_1, Q5_0, Q4_1 or Q4_0")
    parser.add_argument("--force", action="store_true", help="replace the destination if it exists")
    parser.add_argument("--quiet", action="store_true", help="print nothing unless something goes wrong")


def run(args: argparse.Namespace) -> int:
    """Quantize, showing how far the work has come."""
    from tropilla.quant.rewrite import quantize_file

    events = quantize_file(resolve(args.source), args.destination, args.type, overwrite=args.force)
    saved = show(events, quiet=args.quiet)
    if not args.quiet:
        print(f"wrote {saved.path} ({human_bytes(saved.size_bytes)})")
    return 0
