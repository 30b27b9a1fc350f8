"""Tropilla: run, teach, judge and shrink LLaMA-family language models on your own machine.

import tropilla

with tropilla.load("smollm2") as model:
    print(model.chat([{"role": "user", "content": "Why is the sky blue?"}]).text)
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tropilla.api.model import Model as Model
    from tropilla.api.model import load as load
    from tropilla.api.pieces import Piece as Piece
    from tropilla.api.pieces import Reply as Reply
    from tropilla.api.pieces import Usage as Usage
    from tropilla.engine.sampling import Sampling as Sampling
    from tropilla.errors import TropillaError as TropillaError
    from tropilla.text.conversation import Conversation as Conversation
    from tropilla.text.conversation import Message as Message

__version__ = "0.1.0"

# Each name is imported when it is first used: `tropilla --version` must not load a model's machinery.
_HOMES = {
    "Conversation": "tropilla.text.conversation",
    "Message": "tropilla.text.conversation",
    "Model": "tropilla.api.model",
    "Piece": "tropilla.api.pieces",
    "Reply": "tropilla.api.pieces",
    "Sampling": "tropilla.engine.sampling",
    "TropillaError": "tropilla.errors",
    "Usage": "tropilla.api.pieces",
    "load": "tropilla.api.model",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'tropilla' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
