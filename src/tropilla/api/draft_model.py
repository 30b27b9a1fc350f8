"""Check that a draft model can stand beside the model that it drafts for."""

from __future__ import annotations

from tropilla.errors import UnsupportedError
from tropilla.formats.checkpoint import Checkpoint
from tropilla.text.tokenizer import Tokenizer, load_tokenizer


def require_same_vocabulary(tokenizer: Tokenizer, draft: Checkpoint) -> None:
    """Raise UnsupportedError unless a draft model's tokens are the model's, id by id."""
    if draft.tokenizer is None:
        raise UnsupportedError(f"{draft.name} brings no tokenizer, so it cannot be a draft model")
    other = load_tokenizer(draft.tokenizer)
    if _spelled(other) != _spelled(tokenizer):
        raise UnsupportedError(
            f"{draft.name} has another vocabulary than the model; a draft model must have the same"
        )


def _spelled(tokenizer: Tokenizer) -> list[bytes]:
    return [tokenizer.decode_bytes(token_id) for token_id in range(tokenizer.vocab_size)]
