"""The verbs' parser: short usage, telling place-holders, one-sentence mistakes."""

from __future__ import annotations

import pytest

from tropilla.cli.parser import Parser
from tropilla.errors import OptionError


@pytest.fixture
def parser() -> Parser:
    parser = Parser(prog="tropilla pack", description="Pack things.")
    parser.add_argument("source")
    parser.add_argument("extra", nargs="*", default=())
    parser.add_argument("--type", required=True)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--share", type=float)
    return parser


def test_usage_shows_what_is_needed_and_leaves_the_rest_to_the_list(parser: Parser) -> None:
    assert parser.format_help().splitlines()[0] == (
        "usage: tropilla pack source [extra ...] --type TYPE [options]"
    )


def test_place_holders_say_what_goes_there(parser: Parser) -> None:
    page = parser.format_help()
    assert "--type TEXT" in page
    assert "--count N" in page
    assert "--share X" in page


def test_flags_are_taken(parser: Parser) -> None:
    parsed = parser.parse_args(["in", "a", "b", "--type", "q", "--count", "3"])
    assert (parsed.source, parsed.extra, parsed.type, parsed.count) == ("in", ["a", "b"], "q", 3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "required: source, --type; see `tropilla pack --help`"),
        (["in", "--type", "q", "--cuont", "3"], "unknown argument '--cuont'; did you mean '--count'?"),
        (["in", "--type", "q", "--cuont=3"], "unknown argument '--cuont=3'; did you mean '--count'?"),
        (["in", "--type", "q", "--count", "x"], "invalid int value: 'x'"),
        (["in", "--typ", "q"], "required: --type"),  # no abbreviations: a later flag may take them
    ],
)
def test_mistakes_are_one_sentence(parser: Parser, arguments: list[str], words: str) -> None:
    with pytest.raises(OptionError) as raised:
        parser.parse_args(arguments)
    assert words in str(raised.value)


def test_knows_its_flags(parser: Parser) -> None:
    assert parser.knows("--count")
    assert not parser.knows("--cuont")
