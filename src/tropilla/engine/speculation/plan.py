"""How many proposed tokens of each sequence to check in one step."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence

# Estimates err; a gain in speed below this share is not worth acting on.
_LEAST_GAIN = 0.05


def plan(
    chances: Sequence[Sequence[float]], *, n_tokens: int, most: int, seconds: Callable[[int], float]
) -> list[int]:
    """Return how many of each sequence's proposed tokens to compute, `most` together.

    chances: for each sequence of the step, the chance that a step gets as far as each of its proposed
    tokens, not rising; n_tokens: what the step computes in any case. The product of all sequences'
    speeds is what is made large (Kelly 1997: proportional fairness), so a sequence that gains much may
    slow the others by a little, and with many of them nobody may. For one sequence that is its speed.
    """
    counts, best = [0] * len(chances), [0] * len(chances)
    expected = [1.0] * len(chances)  # tokens that each sequence gets from the step
    gain = 0.0
    plain_s = seconds(n_tokens)
    best_score = math.log1p(_LEAST_GAIN)
    queue = [(-chance[0], i) for i, chance in enumerate(chances) if chance]
    heapq.heapify(queue)
    for extra in range(1, most + 1):
        if not queue:
            break
        _, i = heapq.heappop(queue)
        chance = chances[i][counts[i]]
        gain += math.log1p(chance / expected[i])
        expected[i] += chance
        counts[i] += 1
        if counts[i] < len(chances[i]):
            heapq.heappush(queue, (-chances[i][counts[i]] / expected[i], i))
        score = gain - len(chances) * math.log(seconds(n_tokens + extra) / plain_s)
        if score > best_score:
            best, best_score = counts.copy(), score
    return best
