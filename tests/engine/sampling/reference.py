"""The samplers of the runtime specification, section 2, written for reading: what the C++ must compute.

Candidates are token ids with float32 logits, always best first: higher logit first, lower id first
among equals. Every function returns new candidates. Probabilities are float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LARGEST = float(np.finfo(np.float32).max)


class Candidates(NamedTuple):
    """Token ids (n,) and their logits (n,), best first."""

    ids: NDArray[np.int64]
    x: NDArray[np.float32]

    @property
    def p(self) -> Floats:
        """The softmax of the logits."""
        weights = np.exp(self.x.astype(np.float64) - float(self.x.max()))
        return np.asarray(weights / weights.sum())

    def keep(self, kept: NDArray[np.bool_]) -> Candidates:
        """Keep some, but at least the best."""
        if not kept.any():
            kept = np.arange(len(self.ids)) == 0
        return Candidates(self.ids[kept], self.x[kept])

    def with_logits(self, x: Floats) -> Candidates:
        """Replace the logits, rounded to finite float32."""
        return best_first(self.ids, np.clip(x, -LARGEST, LARGEST).astype(np.float32))

    def distribution(self) -> dict[int, float]:
        """Return the probability of every candidate."""
        return dict(zip(self.ids.tolist(), self.p.tolist(), strict=True))


def best_first(ids: NDArray[np.int64], x: NDArray[np.float32]) -> Candidates:
    order = np.lexsort((ids, -x.astype(np.float64)))
    return Candidates(ids[order], x[order])


def all_candidates(logits: NDArray[np.float32]) -> Candidates:
    """Start from the whole vocabulary; -inf is a banned token."""
    ids = np.flatnonzero(logits != -np.inf)
    return best_first(ids, logits[ids])


def entropy(p: Floats) -> float:
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())


# Penalties: each edits the logits of some tokens


def edit(c: Candidates, new_logit: Callable[[int, float], float]) -> Candidates:
    return c.with_logits(np.array([new_logit(t, float(x)) for t, x in zip(c.ids, c.x, strict=True)]))


def last(tokens: Sequence[int], n: int) -> Sequence[int]:
    return tokens if n < 0 else tokens[max(0, len(tokens) - n) :]


def penalized(x: float, r: float) -> float:
    return x / r if x > 0 else x * r


def repetition(
    c: Candidates, tokens: Sequence[int], *, r: float, window: int, slope: float = 1, decay: int = 0
) -> Candidates:
    """Distance 1 is the latest token; the newer half of the window holds the extra one."""
    size = len(last(tokens, window))
    newer_half = size - size // 2

    def new_logit(token: int, x: float) -> float:
        distances = [d for d in range(1, len(tokens) + 1) if tokens[-d] == token]
        if not distances:
            return x
        d = min(distances)
        if d <= newer_half:
            share = 1.0
        elif d <= size:
            share = slope
        elif window >= 0 and d <= size + decay:
            share = slope * (1 - (d - size) / decay)
        else:
            return x
        return penalized(x, 1 + (r - 1) * share)

    return edit(c, new_logit)


def frequency_presence(
    c: Candidates, window: Sequence[int], *, frequency: float, presence: float
) -> Candidates:
    def new_logit(token: int, x: float) -> float:
        count = list(window).count(token)
        return x - (frequency * count + presence) if count else x

    return edit(c, new_logit)


def encoder_repetition(c: Candidates, prompt: Sequence[int], *, e: float) -> Candidates:
    return edit(c, lambda token, x: penalized(x, 1 / e) if token in prompt else x)


def no_repeat_ngram(c: Candidates, tokens: Sequence[int], *, n: int) -> Candidates:
    seen = {tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)}
    beginning = tuple(tokens[len(tokens) - n + 1 :]) if n > 1 else ()
    kept = np.array([(*beginning, int(t)) not in seen for t in c.ids])
    return c.keep(kept) if kept.any() else c


def dry_match(window: Sequence[int], breakers: Sequence[Sequence[int]], token: int) -> int:
    """Return n_t by trying every suffix at every earlier place."""
    n = len(window)
    ends = [e for e in range(1, n + 1) for b in breakers if tuple(window[max(0, e - len(b)) : e]) == tuple(b)]
    longest = n - max(ends, default=0)
    return max(
        (
            length
            for length in range(1, longest + 1)
            for start in range(n - length)
            if list(window[start : start + length]) == list(window[n - length :])
            and window[start + length] == token
        ),
        default=0,
    )


def dry(
    c: Candidates,
    window: Sequence[int],
    *,
    multiplier: float,
    base: float,
    allowed: int,
    breakers: Sequence[Sequence[int]] = (),
) -> Candidates:
    largest = np.floor(88.72 / np.log(base)) if base > 1 else np.inf

    def new_logit(token: int, x: float) -> float:
        n = dry_match(window, breakers, token)
        if n < allowed or (token,) in {tuple(b) for b in breakers}:
            return x
        return float(x - multiplier * base ** min(n - allowed, largest))

    return edit(c, new_logit)


# Filters: each keeps some candidates


def top_n_sigma(c: Candidates, n: float) -> Candidates:
    x = c.x.astype(np.float64)
    return c.keep(x >= x.max() - n * np.std(x))


def top_k(c: Candidates, k: int) -> Candidates:
    return c.keep(np.arange(len(c.ids)) < k)


def shortest_prefix(c: Candidates, order: NDArray[np.int64], reached: NDArray[np.bool_]) -> Candidates:
    """Keep candidates in this order up to the first where `reached` holds, it included."""
    length = int(np.argmax(reached)) + 1 if reached.any() else len(order)
    return c.keep(np.isin(np.arange(len(order)), order[:length]))


def typical(c: Candidates, P: float) -> Candidates:
    with np.errstate(divide="ignore"):
        distance = np.abs(-np.log(c.p) - entropy(c.p))
    order = np.lexsort((np.arange(len(c.p)), distance))
    return shortest_prefix(c, order, np.cumsum(c.p[order]) > P)


def top_p(c: Candidates, P: float) -> Candidates:
    return shortest_prefix(c, np.arange(len(c.p)), np.cumsum(c.p) >= P)


def min_p(c: Candidates, P: float) -> Candidates:
    return c.keep(c.x >= float(c.x[0]) + np.log(P))


def top_a(c: Candidates, a: float) -> Candidates:
    return c.keep(c.p >= a * c.p[0] ** 2)


def tail_free(c: Candidates, z: float) -> Candidates:
    if len(c.p) == 1:
        return c
    second = np.abs(np.diff(c.p, n=2))
    total = second.sum()
    cumulated = np.cumsum(second / total) if total > 0 else np.zeros(len(second))
    return c.keep(np.concatenate([[True], cumulated <= z, [False]]))


def epsilon(c: Candidates, eps: float) -> Candidates:
    return c.keep(c.p >= eps)


def eta(c: Candidates, eps: float) -> Candidates:
    return c.keep(c.p >= min(eps, np.sqrt(eps) * np.exp(-entropy(c.p))))


def xtc(c: Candidates, threshold: float) -> Candidates:
    """What happens when the coin of xtc_probability says so."""
    n_likely = int((c.p >= threshold).sum())
    return c.keep(np.arange(len(c.p)) >= n_likely - 1)


# Temperature


def temperature(c: Candidates, T: float) -> Candidates:
    return top_k(c, 1) if T <= 0 else c.with_logits(c.x / np.float64(T))


def dynamic_temperature(c: Candidates, T: float, spread: float, exponent: float) -> Candidates:
    if len(c.ids) == 1:
        return c
    low, high = max(0.0, T - spread), T + spread
    return temperature(c, low + (high - low) * (entropy(c.p) / np.log(len(c.p))) ** exponent)


def smoothing(c: Candidates, f: float, curve: float) -> Candidates:
    d = c.x.astype(np.float64) - float(c.x[0])
    k, s = (3 - curve) / 2, (curve - 1) / 2
    return c.with_logits(float(c.x[0]) - k * f * d**2 + s * f * d**3)


# Draws


def mirostat_2(c: Candidates, mu: float) -> Candidates:
    with np.errstate(divide="ignore"):
        return c.keep(-np.log2(c.p) <= mu)


def mirostat_1(c: Candidates, mu: float, m: int, V: int) -> Candidates:
    n = min(m, len(c.ids))
    if n < 2:
        return c
    a = np.log((np.arange(1, n) + 1) / np.arange(1, n))
    b = -np.diff(c.x[:n].astype(np.float64))
    s = (a * b).sum() / (a * a).sum()
    if s == 0:
        return c
    excess = s - 1
    with np.errstate(over="ignore"):
        k = (excess * 2**mu / (1 - np.float64(V) ** -excess)) ** (1 / s)
    return top_k(c, int(np.clip(k, 1, V)))


def mirostat_update(mu: float, p: float, tau: float, eta: float) -> float:
    return float(mu - eta * (-np.log2(p) - tau))


def adaptive(c: Candidates, target: float, S: float, W: float) -> Candidates:
    aim = min(max(2 * target - S / W, 0), 1)
    d = np.abs(c.p - aim) / 0.3
    return c.with_logits(5 - 10 * d**2 / (1 + d))


def skewed(c: Candidates, s: float) -> dict[int, float]:
    """The chance that u**exp(-s) falls into each token's share of [0, 1], best first."""
    edges = np.concatenate([[0.0], np.cumsum(c.p)]) ** np.exp(s)
    return dict(zip(c.ids.tolist(), np.diff(edges).tolist(), strict=True))
