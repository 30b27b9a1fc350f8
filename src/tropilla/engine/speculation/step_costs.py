"""What a step of n tokens costs, learned from the steps that were run."""

from __future__ import annotations

from bisect import bisect

_NEWEST_SHARE = 0.125  # of a new time in the estimate, once there are enough
_CREDIBLE = 2.0  # a time further off than this factor counts as if it were so far off
_PRIOR_SLOPE = 0.1  # cost of a further token as a share of the cheapest step, before any was seen


class StepCosts:
    """Estimate a step's seconds from its number of tokens; between sizes seen, in proportion."""

    def __init__(self) -> None:
        self._sizes: list[int] = []  # those seen, in order
        self._seconds: dict[int, float] = {}
        self._n_seen: dict[int, int] = {}

    @property
    def known(self) -> bool:
        """Return whether any step was seen."""
        return bool(self._sizes)

    def note(self, n_tokens: int, seconds: float) -> None:
        """Learn from a step."""
        n_seen = self._n_seen[n_tokens] = self._n_seen.get(n_tokens, 0) + 1
        if n_seen == 1:
            self._sizes.insert(bisect(self._sizes, n_tokens), n_tokens)
            self._seconds[n_tokens] = seconds
            return
        now = self._seconds[n_tokens]
        credible = min(max(seconds, now / _CREDIBLE), now * _CREDIBLE)
        self._seconds[n_tokens] = now + max(_NEWEST_SHARE, 1 / n_seen) * (credible - now)

    def seconds(self, n_tokens: int) -> float:
        """Return what a step of n_tokens is expected to cost; some constant before the first."""
        if n_tokens in self._seconds:
            return self._seconds[n_tokens]
        place = bisect(self._sizes, n_tokens)
        if not self._sizes:
            return 1 + _PRIOR_SLOPE * n_tokens
        if place == 0:
            return self._seconds[self._sizes[0]]
        if place == len(self._sizes):
            return self._beyond(n_tokens)
        below, above = self._sizes[place - 1], self._sizes[place]
        share = (n_tokens - below) / (above - below)
        return self._seconds[below] * (1 - share) + self._seconds[above] * share

    def _beyond(self, n_tokens: int) -> float:
        """Return the cost of more tokens than any step had, as the sizes seen make it look."""
        smallest, largest = self._sizes[0], self._sizes[-1]
        slope = _PRIOR_SLOPE * self._seconds[smallest]
        if largest > smallest:
            slope = max(0.0, self._seconds[largest] - self._seconds[smallest]) / (largest - smallest)
        return self._seconds[largest] + slope * (n_tokens - largest)
