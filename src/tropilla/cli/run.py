"""Print one answer or one continuation, for scripts and pipes.

The prompt comes from --prompt, --file or standard input. The exit status is 0 however the text ended;
--json says how.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tropilla.cli.model_flags import add_model_flags, model_opener
from tropilla.cli.plain import print_pieces
from tropilla.cli.text_file import read_stdin, read_text, without_last_line_end
from tropilla.engine.sampling import Sampling
from tropilla.errors import OptionError, RequestError
from tropilla.options import from_flags

if TYPE_CHECKING:
    from collections.abc import Callable

    from tropilla.api import Model, Reply


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `tropilla run`."""
    parser.add_argument("model", help="catalogue name, file or folder")
    prompt = parser.add_mutually_exclusive_group()
    prompt.add_argument("-p", "--prompt", metavar="TEXT", help="the prompt")
    prompt.add_argument("-f", "--file", metavar="FILE", help="file that holds the prompt")
    way = parser.add_mutually_exclusive_group()
    way.add_argument(
        "--chat", action="store_true", help="answer the prompt as a message (this is the default)"
    )
    way.add_argument(
        "--raw", action="store_true", help="go on with the prompt as it stands, without a template"
    )
    parser.add_argument("--system", metavar="TEXT", help="system message before the prompt")
    parser.add_argument("--json", action="store_true", help="print one JSON object in place of the text")
    add_model_flags(parser)


def run(arguments: argparse.Namespace, open_model: Callable[[str], Model] | None = None) -> int:
    """Print the text as it comes, or all of it as JSON; open_model stands in for loading by name."""
    if arguments.raw and arguments.system is not None:
        raise OptionError("--system is for chats; leave it out, or leave out --raw")
    prompt = _prompt(arguments)
    if not arguments.raw and not prompt.strip():
        raise RequestError(
            "the prompt is empty; write one, or let the model begin a text of its own with --raw"
        )
    sampling = from_flags(Sampling, arguments)
    with (open_model or model_opener(arguments))(arguments.model) as model:
        if arguments.json:
            print(json.dumps(_record(_reply(model, prompt, sampling, arguments)), ensure_ascii=False))
        elif arguments.raw:
            print_pieces(model.stream(prompt, sampling))
        else:
            print_pieces(model.chat_stream(_messages(prompt, arguments.system), sampling))
    return 0


def _prompt(arguments: argparse.Namespace) -> str:
    if arguments.prompt is not None:
        return str(arguments.prompt)
    if arguments.file is not None:
        return without_last_line_end(read_text(Path(arguments.file)))
    if sys.stdin.isatty():
        raise RequestError("there is no prompt: give --prompt TEXT, --file FILE, or write to standard input")
    return read_stdin()


def _reply(model: Model, prompt: str, sampling: Sampling, arguments: argparse.Namespace) -> Reply:
    if arguments.raw:
        return model.complete(prompt, sampling)
    return model.chat(_messages(prompt, arguments.system), sampling)


def _messages(prompt: str, system: str | None) -> list[dict[str, object]]:
    first: list[dict[str, object]] = [{"role": "system", "content": system}] if system else []
    return [*first, {"role": "user", "content": prompt}]


def _record(reply: Reply) -> dict[str, Any]:  # Any: what JSON holds
    """Return the reply as JSON has it, with the speeds; token texts only where logprobs were asked for."""
    record = asdict(reply)
    record["usage"]["prefill_tokens_per_s"] = reply.usage.prefill_tokens_per_s
    record["usage"]["decode_tokens_per_s"] = reply.usage.decode_tokens_per_s
    if not reply.tokens:
        del record["tokens"]
    return record
