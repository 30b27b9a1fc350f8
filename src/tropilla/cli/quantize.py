"""tropilla quantize: make a model smaller by storing its weights in fewer bits.

    tropilla quantize llama.gguf smaller.gguf --type Q4_K_M

Bits a weight, scales included: F32 32, F16 and BF16 16, Q8_0 8.5, Q6_K 6.6, Q5_1 6, Q5_0 and Q5_K 5.5,
Q4_1 5, Q4_0 and Q4_K 4.5, Q3_K 3.4, Q2_K 2.6. Q4_K_M and Q5_K_M are mostly Q4_K and Q5_K, with Q6_K where
it helps most. K types lose least for their size, but need rows of whole 256 weights; other rows get the
nearest type with blocks of 32. Vectors stay F32. The source may be any file or folder that Tropilla reads.
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
    parser.add_argument("--type", required=True, help="such as Q4_K_M, Q6_K or Q8_0; all are listed above")
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
