"""The command line: `tropilla VERB ...`.

A verb is a module of this room with `add_arguments(parser)` and `run(args) -> int`. It is imported
only when it is called, so that `--version` and `--help` cost milliseconds.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from tropilla import __version__
from tropilla.cli.shell import guarded
from tropilla.errors import OptionError

GROUPS: dict[str, dict[str, tuple[str, str]]] = {  # group -> verb -> (module, what it does)
    "Talk": {
        "chat": ("tropilla.cli.chat", "talk to a model in the terminal"),
        "run": ("tropilla.cli.run", "print one answer, for scripts and pipes"),
    },
    "Models": {
        "pull": ("tropilla.cli.pull", "get a model into your library"),
        "models": ("tropilla.cli.models", "what you have, what there is, and what fits this machine"),
        "rm": ("tropilla.cli.rm", "delete a model from your library"),
        "cache": ("tropilla.cli.cache", "what finished prompts left on disk for the next run; clear it"),
    },
    "Files": {
        "info": ("tropilla.cli.info", "what a model file is, and what it needs"),
        "convert": ("tropilla.cli.convert", "bring a model into another file format"),
        "tokenize": ("tropilla.cli.tokenize", "the tokens of a text, as a model sees them"),
        "quantize": ("tropilla.cli.quantize", "store a model's weights in fewer bits"),
    },
    "Machine": {
        "bench": ("tropilla.cli.bench", "how fast a model runs here, against this machine's limits"),
        "doctor": ("tropilla.cli.doctor", "what this machine is, and whether everything is in order"),
    },
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status; argv leaves out the program's name."""
    return guarded(lambda: _dispatch(sys.argv[1:] if argv is None else list(argv)))


def verbs() -> dict[str, tuple[str, str]]:
    """Return every verb with its module and what it does, in the order of the help page."""
    return {verb: entry for group in GROUPS.values() for verb, entry in group.items()}


def help_page() -> str:
    """Return what `tropilla --help` prints: the verbs by group."""
    lines = ["Tropilla: run LLaMA-family language models on your own machine.", ""]
    lines += ["usage: tropilla VERB ...     `tropilla VERB --help` explains a verb", ""]
    width = max(map(len, ["--version", *verbs()]))
    for group, members in GROUPS.items():
        if members:
            lines += [group, *(f"  {verb:{width}}  {what}" for verb, (_, what) in members.items()), ""]
    lines += [
        "Options",
        f"  {'--help':{width}}  show this page",
        f"  {'--version':{width}}  show the version",
    ]
    return "\n".join(lines)


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(help_page())
        return 0
    if argv[0] in ("-V", "--version"):
        print(f"tropilla {__version__}")
        return 0
    if argv[0] not in verbs():
        raise _unknown(argv[0])
    return _run_verb(argv[0], argv[1:])


def _run_verb(verb: str, arguments: list[str]) -> int:
    from tropilla.cli.parser import Parser

    module = import_module(verbs()[verb][0])
    parser = Parser(prog=f"tropilla {verb}", description=module.__doc__)
    module.add_arguments(parser)
    try:
        namespace = parser.parse_args(arguments)
    except SystemExit as stop:  # argparse leaves this way after --help
        return int(stop.code or 0)
    return int(module.run(namespace))


def _unknown(verb: str) -> OptionError:
    from tropilla.options import suggestion

    kind = "option" if verb.startswith("-") else "verb"
    known = ["--help", "--version"] if kind == "option" else verbs()
    hint = suggestion(verb, known) or "; `tropilla --help` lists them all"
    return OptionError(f"unknown {kind} {verb!r}{hint}")
