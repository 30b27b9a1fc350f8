"""Show the tokens of a text as a model sees them: ids and pieces, or just their number."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tropilla.errors import FormatError, OptionError
from tropilla.hub.library import resolve

if TYPE_CHECKING:
    from tropilla.formats.tokenizer_source import TokenizerSource
    from tropilla.text.tokenizer import Tokenizer

_STYLES = ("black on bright_cyan", "black on bright_yellow")  # side by side, so that every border shows
_SPECIAL_STYLE = "bold white on magenta"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("model", help="a name of your library, a model file or folder, or a tokenizer file")
    parser.add_argument("text", nargs="?", help="the text; - or nothing reads standard input")
    parser.add_argument("--special", action="store_true", help="take special tokens in the text as such")
    parser.add_argument("--no-bos", action="store_true", help="leave out the token that begins a text")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--count", action="store_true", help="print the number of tokens only")
    shown.add_argument("--json", action="store_true", help="print JSON for scripts")


def run(args: argparse.Namespace) -> int:
    """Print the tokens of one text."""
    text = _text(args.text)
    tokenizer = _tokenizer(resolve(args.model))
    token_ids = tokenizer.encode(text, add_bos=False if args.no_bos else None, parse_special=args.special)
    if args.count:
        print(len(token_ids))
    elif args.json:
        tokens = [{"id": token_id, "piece": tokenizer.piece(token_id)} for token_id in token_ids]
        print(json.dumps({"count": len(token_ids), "tokens": tokens}, ensure_ascii=False))
    elif sys.stdout.isatty():
        _print_coloured(tokenizer, token_ids)
    else:
        for token_id in token_ids:
            print(f"{token_id}\t{_visible(tokenizer, token_id)}")
    return 0


def _text(given: str | None) -> str:
    if given not in (None, "-"):
        assert given is not None
        return given
    if given is None and sys.stdin.isatty():
        raise OptionError("there is no text; give one after the model, or pipe it in")
    return sys.stdin.read()


def _tokenizer(path: Path) -> Tokenizer:
    """Load the tokenizer alone: a vocabulary without weights is enough."""
    from tropilla.formats.checkpoint import open_checkpoint
    from tropilla.formats.folder_tokenizer import folder_tokenizer
    from tropilla.formats.gguf import GGUFFile
    from tropilla.formats.tokenizer_source import gguf_vocabulary
    from tropilla.text.tokenizer import load_tokenizer

    if path.suffix == ".gguf":
        with GGUFFile(path) as file:
            return load_tokenizer(_present(path, gguf_vocabulary(path, file.metadata)))
    if path.name in ("tokenizer.json", "tokenizer.model"):
        return load_tokenizer(_present(path, folder_tokenizer(path.parent)))
    with open_checkpoint(path) as checkpoint:
        return load_tokenizer(_present(path, checkpoint.tokenizer))


def _present(path: Path, source: TokenizerSource | None) -> TokenizerSource:
    if source is None:
        raise FormatError(path, "brings no tokenizer; name the tokenizer file itself")
    return source


def _print_coloured(tokenizer: Tokenizer, token_ids: list[int]) -> None:
    from rich.text import Text

    from tropilla.cli.console import make_console

    console = make_console(markup=False)
    line = Text()
    for number, token_id in enumerate(token_ids):
        special = tokenizer.is_special(token_id)
        line.append(_visible(tokenizer, token_id), _SPECIAL_STYLE if special else _STYLES[number % 2])
    console.print(line)
    console.print(Text(" ".join(map(str, token_ids)), "dim"))
    console.print(f"{len(token_ids)} tokens")


def _visible(tokenizer: Tokenizer, token_id: int) -> str:
    """Return the token's text on one line, with whatever could steer a terminal written as an escape."""
    text = tokenizer.decode_bytes(token_id).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
