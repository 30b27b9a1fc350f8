"""Prompts that every engine gets alike."""

from __future__ import annotations

import random

_WORDS = (
    "river", "stone", "winter", "garden", "letter", "music", "window", "silver", "market", "horse",
    "paper", "morning", "bridge", "candle", "story", "mountain", "kitchen", "doctor", "teacher", "summer",
)  # fmt: skip

# A text that goes on by repeating itself, as edits of code and quotations do.
REPEATING = (
    "Here is a list of settings, written twice without any change.\n\n"
    + "".join(f"setting_{i} = value_of_{i}  # the default of setting {i}\n" for i in range(24))
    + "\nThe same list again:\n\n"
    + "".join(f"setting_{i} = value_of_{i}  # the default of setting {i}\n" for i in range(4))
)


N_ANSWER = 96  # tokens that each client asks for


def prompts_of_clients(n: int) -> list[str]:
    """Return n different prompts of about 90 tokens."""
    rng = random.Random(1)
    return ["Tell a story with these words: " + " ".join(rng.choices(_WORDS, k=78)) for _ in range(n)]
