"""Seeded random strings that look for the corners of Unicode."""

from __future__ import annotations

import random
from collections.abc import Callable

_SCRIPTS = [
    (0x20, 0x7F), (0xA0, 0x250), (0x370, 0x400), (0x400, 0x530), (0x5D0, 0x5EB), (0x620, 0x650),
    (0x905, 0x93A), (0xE01, 0xE3A), (0x10D0, 0x10FB), (0x1200, 0x1249), (0x3041, 0x3097), (0x30A1, 0x30FB),
    (0x4E00, 0x9FA6), (0xAC00, 0xD7A4), (0x10330, 0x1034B), (0x12000, 0x1236F), (0x1D400, 0x1D455),
    (0x20000, 0x2A6D7),
]  # fmt: skip
_EMOJI = ["😀", "👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇰🇷", "1️⃣", "❤️", "\u200d", "\ufe0f"]
_WORDS = [
    "the",
    "Hello",
    "don't",
    "we'LL",
    "I'm",
    "straße",
    "naïve",
    "안녕하세요",
    "привет",
    "日本語",
    "שלום",
]
_EDGES = [
    "\ud7ff",
    "\ue000",
    "\ufffd",
    "\uffff",
    "\U0010ffff",
    "\U00010000",
    "\ufeff",
    "\u2028",
    "\u0085",
    "\u3000",
]


def random_strings(count: int, seed: int) -> list[str]:
    """Return count strings that mix scripts, emoji, combining marks, controls, digits and white space.

    U+2581 is left out: SentencePiece writes spaces with it, so it alone cannot come back.
    """
    rng = random.Random(seed)
    return ["".join(_chunk(rng) for _ in range(rng.randint(1, 8))) for _ in range(count)]


def _chunk(rng: random.Random) -> str:
    makers: list[Callable[[random.Random], str]] = [
        _script, _script, _combining, _controls, _digits, _spaces, _punctuation, _any,
        lambda r: r.choice(_EMOJI), lambda r: r.choice(_EDGES),
        lambda r: r.choice(("", " ")) + r.choice(_WORDS), lambda r: r.choice(("", " ")) + r.choice(_WORDS),
    ]  # fmt: skip
    return rng.choice(makers)(rng)


def _script(rng: random.Random) -> str:
    low, high = rng.choice(_SCRIPTS)
    return "".join(chr(rng.randrange(low, high)) for _ in range(rng.randint(1, 12)))


def _combining(rng: random.Random) -> str:
    return rng.choice("aeioun") + "".join(chr(rng.randrange(0x300, 0x370)) for _ in range(rng.randint(1, 4)))


def _controls(rng: random.Random) -> str:
    return "".join(chr(rng.choice((*range(0x20), *range(0x7F, 0xA0)))) for _ in range(rng.randint(1, 3)))


def _digits(rng: random.Random) -> str:
    return "".join(rng.choice("0123456789٣²½Ⅷ") for _ in range(rng.choice((1, 2, 3, 4, 9, 40))))


def _spaces(rng: random.Random) -> str:
    return "".join(rng.choice(" \n\t\r\u00a0\u2003 ") for _ in range(rng.randint(1, 6)))


def _punctuation(rng: random.Random) -> str:
    return "".join(rng.choice("!?.,;:'\"()[]{}<>|/\\@#$%^&*-_=+~`…—«»") for _ in range(rng.randint(1, 6)))


def _any(rng: random.Random) -> str:
    code = rng.choice((rng.randrange(0xD800), rng.randrange(0xE000, 0x110000)))
    return "" if code == 0x2581 else chr(code)
