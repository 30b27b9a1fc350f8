"""tropilla convert: bring a model into another file format, its tokenizer and chat template with it.

    tropilla convert model.gguf folder              GGUF to a Hugging Face folder
    tropilla convert folder model.gguf              Hugging Face or Meta to GGUF
    tropilla convert model.gguf folder --to meta    to consolidated.00.pth and params.json

No weight changes, except that formats without quantized types store such weights as F32.
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
    parser.add_argument("destination", type=Path, help="the .gguf or .bin file, or the folder, to write")
    parser.add_argument(
        "--to",
        choices=("gguf", "huggingface", "meta", "llama2c"),
        help="the target format (default: .gguf is GGUF, .bin llama2.c, else a Hugging Face folder)",
    )
    parser.add_argument("--type", help="store the matrices in F32, F16 or BF16 (default: as they are)")
    parser.add_argument("--force", action="store_true", help="replace the destination if it exists")
    parser.add_argument("--quiet", action="store_true", help="print nothing unless something goes wrong")


def run(args: argparse.Namespace) -> int:
    """Convert, showing how far the work has come."""
    from tropilla.quant.convert import convert

    source = resolve(args.source)
    events = convert(source, args.destination, to=args.to, type=args.type, overwrite=args.force)
    saved = show(events, quiet=args.quiet)
    if not args.quiet:
        print(f"wrote {saved.path} ({human_bytes(saved.size_bytes)})")
    return 0
