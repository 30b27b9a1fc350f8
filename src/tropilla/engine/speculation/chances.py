"""How likely a proposed token is to be drawn, learned from how earlier ones of its kind fared."""

from __future__ import annotations

from collections.abc import Sequence

_MEMORY = 0.95  # of what was learned, with each further token of the kind
_PRIOR_WEIGHT = 3.0  # in tokens


class Chances:
    """Estimate the share of accepted tokens for each of several kinds, beginning with a prior."""

    def __init__(self, priors: Sequence[float]) -> None:
        self._hits = [prior * _PRIOR_WEIGHT for prior in priors]
        self._tries = [_PRIOR_WEIGHT] * len(priors)

    def __getitem__(self, kind: int) -> float:
        return self._hits[kind] / self._tries[kind]

    def note(self, kind: int, accepted: bool) -> None:
        """Learn that a token of a kind, all before it being right, was drawn or not."""
        self._hits[kind] = self._hits[kind] * _MEMORY + accepted
        self._tries[kind] = self._tries[kind] * _MEMORY + 1
