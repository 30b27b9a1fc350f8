from __future__ import annotations

import argparse
import math
import shlex
from dataclasses import dataclass

import pytest

from tropilla.errors import OptionError
from tropilla.options import Limits, add_flags, check, from_flags, from_mapping, limits_of, option


@dataclass(frozen=True, kw_only=True)
class Oven:
    heat: float = option(180.0, help="degrees", above=0, at_most=300)
    minutes: int = option(20, help="how long", at_least=1)
    mode: str = option("fan", help="how", choices=("fan", "grill"))
    light: bool = option(False, help="lamp")
    trays: tuple[str, ...] = option((), help="which trays")
    core: float | None = option(None, help="inner temperature", below=100)

    def __post_init__(self) -> None:
        check(self)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"heat": 0.0}, "heat must be in (0, 300], got 0.0"),
        ({"heat": 301}, "heat must be in (0, 300], got 301"),
        ({"heat": math.nan}, "heat must be in (0, 300], got nan"),
        ({"heat": "hot"}, "heat must be a number, got 'hot'"),
        ({"minutes": 0}, "minutes must be at least 1, got 0"),
        ({"minutes": 1.5}, "minutes must be a whole number, got 1.5"),
        ({"minutes": True}, "minutes must be a whole number, got True"),
        ({"mode": "steam"}, "mode must be one of fan, grill, got steam"),
        ({"light": 1}, "light must be true or false, got 1"),
        ({"core": 100.0}, "core must be below 100, got 100.0"),
    ],
)
def test_values_outside_the_limits_are_refused_by_name(values: dict[str, object], words: str) -> None:
    with pytest.raises(OptionError) as caught:
        from_mapping(Oven, values, where="x")
    assert str(caught.value) == words


def test_large_limits_are_written_in_full() -> None:
    assert Limits(help="", at_least=0, at_most=2**64 - 1).describe() == "in [0, 18446744073709551615]"


def test_values_at_the_limits_are_taken() -> None:
    assert Oven(heat=300, minutes=1, core=99.9).heat == 300
    assert Oven(core=None).core is None


def test_unknown_keys_are_errors_with_a_suggestion() -> None:
    with pytest.raises(OptionError, match=r"oven\.toml: unknown option 'minute'; did you mean 'minutes'\?"):
        from_mapping(Oven, {"minute": 3}, where="oven.toml")


def test_flags_give_the_same_options_as_python() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser, Oven)
    words = shlex.split("--heat 200 --minutes 5 --mode grill --light --trays low --trays high")
    assert from_flags(Oven, parser.parse_args(words)) == Oven(
        heat=200.0, minutes=5, mode="grill", light=True, trays=("low", "high")
    )
    assert from_flags(Oven, parser.parse_args(["--no-light"])) == Oven()


def test_help_states_each_limit(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser, Oven)
    parser.print_help()
    printed = capsys.readouterr().out
    assert "degrees (in (0, 300])" in " ".join(printed.split())
    assert set(limits_of(Oven)) == {"heat", "minutes", "mode", "light", "trays", "core"}
