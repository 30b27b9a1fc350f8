"""What a user wants of an answer, in terms of token ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tropilla.engine.sampling import Sampling
from tropilla.engine.sequence import TokenSampling
from tropilla.text.tokenizer import Tokenizer


def token_sampling(sampling: Sampling, tokenizer: Tokenizer) -> TokenSampling:
    """Translate sampling options for one tokenizer; raises OptionError for ids it does not have."""
    wants_dry = sampling.dry_multiplier > 0
    params = sampling.to_native(
        tokenizer.vocab_size,
        end_ids=tokenizer.end_ids,
        dry_breakers=list(_breakers(tokenizer, sampling.dry_breakers)) if wants_dry else (),
    )
    return TokenSampling(params=params, max_tokens=sampling.max_tokens)


def _breakers(tokenizer: Tokenizer, texts: Sequence[str]) -> Iterator[list[int]]:
    """Yield each token that contains one of the texts, and each text as it is tokenised by itself.

    A breaker rarely stands alone: ":" hides in tokens such as "):" too.
    """
    wanted = [text.encode() for text in texts]
    for token_id in range(tokenizer.vocab_size):
        data = tokenizer.decode_bytes(token_id)
        if any(text in data for text in wanted):
            yield [token_id]
    for text in texts:
        token_ids = tokenizer.encode(text, add_bos=False)
        if len(token_ids) > 1:
            yield token_ids
