"""How the next token is chosen: every option of the sampler, its range and its default."""

from __future__ import annotations

import dataclasses
import math
import os
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tropilla.errors import OptionError
from tropilla.options import check, limits_of, option, suggestion

if typing.TYPE_CHECKING:
    from tropilla import _native

# The steps of the chain in their default order; for each the options that switch it on and the values
# at which they do not.
CHAIN: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "repetition": {"repetition_penalty": (1,)},
    "frequency_presence": {"frequency_penalty": (0,), "presence_penalty": (0,)},
    "encoder_repetition": {"encoder_repetition_penalty": (1,)},
    "no_repeat_ngram": {"no_repeat_ngram": (0,)},
    "dry": {"dry_multiplier": (0,)},
    "top_n_sigma": {"top_n_sigma": (-1,)},
    "top_k": {"top_k": (0, -1)},
    "typical": {"typical_p": (1,)},
    "top_p": {"top_p": (1,)},
    "min_p": {"min_p": (0,)},
    "top_a": {"top_a": (0,)},
    "tail_free": {"tail_free": (1,)},
    "epsilon": {"epsilon_cutoff": (0,)},
    "eta": {"eta_cutoff": (0,)},
    "xtc": {"xtc_probability": (0,)},
    "temperature": {"temperature": (1,), "dynamic_temperature_range": (0,)},
    "smoothing": {"smoothing_factor": (0,)},
}
# Other ways to draw, which mirostat replaces too.
_DRAWS: Mapping[str, tuple[float, ...]] = {"adaptive_target": (-1,), "skew": (0,)}
_TOKEN_IDS = ("stop_token_ids", "banned_tokens", "allowed_token_ids")
_TEXTS = ("stop", "banned_strings", "dry_breakers", "samplers")
_NOT_NATIVE = ("max_tokens", "seed", "stop", "banned_strings", "dry_breakers", "logit_bias")

# The themes of help pages: each begins with the option named and ends where the next begins.
_THEMES = {
    "max_tokens": "answer",
    "temperature": "temperature",
    "top_k": "cutting off unlikely tokens",
    "repetition_penalty": "against repetition",
    "mirostat": "other ways to draw",
    "logit_bias": "bans, stops and reports",
}

_MOST = 2**31 - 1  # what C++ counts to: more tokens than any sequence has


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Say how an answer's tokens are chosen and when it ends.

    The defaults are those of llama.cpp (temperature 0.8, top-k 40, top-p 0.95, min-p 0.05, no
    penalties), which has the most users. OpenAI's API takes temperature 1 and top-p 1 for what a
    request leaves out, and no other filter; the web interface of 2023 took temperature 0.5 over its
    API. A caller who wants those says so.

    Bans and logit_bias come first, so that what is left has exactly the conditional distribution; the
    steps that `samplers` names follow in that order; a step that is not named is off.
    """

    max_tokens: int | None = option(None, help="most tokens to answer with", at_least=1)
    seed: int | None = option(
        None, help="repeats an answer; drawn at random if absent", at_least=0, at_most=2**64 - 1
    )
    samplers: tuple[str, ...] = option(tuple(CHAIN), help="steps of the chain, in order; others are off")

    temperature: float = option(
        0.8, help="above 1 flatter, below 1 sharper, 0 always the best", at_least=0, at_most=100
    )
    dynamic_temperature_range: float = option(
        0.0, help="lets entropy move the temperature by up to this; 0 is off", at_least=0, at_most=100
    )
    dynamic_temperature_exponent: float = option(
        1.0, help="how the temperature follows the entropy", at_least=0, at_most=100
    )
    smoothing_factor: float = option(
        0.0, help="quadratic reshaping of the logits; 0 is off", at_least=0, at_most=100
    )
    smoothing_curve: float = option(
        1.0, help="cubic part of the reshaping; 1 has none", at_least=1, at_most=10
    )

    top_k: int = option(40, help="keeps the k best tokens; 0 is off", at_least=-1)
    top_p: float = option(0.95, help="keeps the best with this probability together", above=0, at_most=1)
    min_p: float = option(
        0.05, help="keeps tokens with this share of the best one's probability", at_least=0, at_most=1
    )
    typical_p: float = option(
        1.0, help="keeps the most typical with this probability together; 1 is off", above=0, at_most=1
    )
    top_n_sigma: float = option(
        -1.0, help="keeps logits within n deviations of the best; below 0 is off", at_least=-1, at_most=100
    )
    top_a: float = option(
        0.0, help="keeps probabilities above this times the best one's square", at_least=0, at_most=1
    )
    tail_free: float = option(
        1.0, help="cuts where the sorted probabilities stop curving; 1 is off", at_least=0, at_most=1
    )
    epsilon_cutoff: float = option(
        0.0, help="drops smaller probabilities (not in units of 1e-4)", at_least=0, below=1
    )
    eta_cutoff: float = option(
        0.0, help="drops probabilities too small for the entropy (not in units of 1e-4)", at_least=0, below=1
    )
    xtc_probability: float = option(
        0.0, help="how often to drop all likely tokens but the last", at_least=0, at_most=1
    )
    xtc_threshold: float = option(
        0.1, help="what xtc_probability calls likely; above 0.5 is off", above=0, at_most=1
    )

    repetition_penalty: float = option(
        1.0, help="divides the logits of recent tokens; 1 is off", above=0, at_most=100
    )
    repetition_window: int = option(
        64, help="tokens that penalties look back on, prompt included; -1 all", at_least=-1
    )
    repetition_slope: float = option(
        1.0, help="share of repetition_penalty in the older half of its window", at_least=0, at_most=1
    )
    repetition_decay: int = option(
        0, help="tokens beyond the window over which the penalty fades", at_least=0
    )
    frequency_penalty: float = option(
        0.0, help="taken from a token's logit for each time it occurs in the window", at_least=-2, at_most=2
    )
    presence_penalty: float = option(
        0.0, help="taken from a token's logit if it occurs in the window", at_least=-2, at_most=2
    )
    penalize_prompt: bool = option(
        True, help="whether frequency and presence count the prompt (llama.cpp) or the answer only (vLLM)"
    )
    encoder_repetition_penalty: float = option(
        1.0, help="above 1 favours the prompt's words", above=0, at_most=100
    )
    no_repeat_ngram: int = option(0, help="bans repeating any n tokens in a row; 0 is off", at_least=0)
    dry_multiplier: float = option(
        0.0, help="penalty for going on repeating; 0 is off", at_least=0, at_most=100
    )
    dry_base: float = option(
        1.75, help="growth of the dry penalty with each repeated token", at_least=1, at_most=100
    )
    dry_allowed_length: int = option(2, help="repeated tokens that the dry penalty starts at", at_least=1)
    dry_range: int = option(64, help="tokens that dry looks back on; -1 all", at_least=-1)
    dry_breakers: tuple[str, ...] = option(
        ("\n", ":", '"', "*"), help="texts that no repetition reaches back over"
    )

    mirostat: int = option(
        0, help="version 1 or 2 replaces the chain but for bans, bias and temperature", at_least=0, at_most=2
    )
    mirostat_tau: float = option(5.0, help="surprise to aim at, in bits", above=0, at_most=100)
    mirostat_eta: float = option(0.1, help="how fast mirostat learns", at_least=0, at_most=1)
    mirostat_m: int = option(100, help="tokens that version 1 estimates the distribution from", at_least=2)
    adaptive_target: float = option(
        -1.0, help="probability that chosen tokens should have; below 0 is off", at_least=-1, at_most=1
    )
    adaptive_decay: float = option(0.9, help="how long adaptive_target remembers", at_least=0, at_most=0.99)
    skew: float = option(
        0.0, help="above 0 draws from the tail, below 0 from the top", at_least=-10, at_most=10
    )

    logit_bias: Mapping[int, float | bool] = option(
        default_factory=dict, help="added to the logits of token ids; false bans one"
    )
    banned_tokens: tuple[int, ...] = option((), help="token ids never to draw")
    banned_strings: tuple[str, ...] = option((), help="texts never to write, whatever their case")
    allowed_token_ids: tuple[int, ...] = option((), help="the only token ids to draw; empty is all")
    stop: tuple[str, ...] = option((), help="texts that end the answer and are left out of it")
    stop_token_ids: tuple[int, ...] = option((), help="token ids that end the answer")
    ignore_eos: bool = option(False, help="never draw the model's own end tokens")
    min_tokens: int = option(0, help="tokens to draw before an end or stop token may come", at_least=0)
    logprobs: int | None = option(
        None, help="report each token's logprob and those of the n best", at_least=0
    )
    post_sampling_probs: bool = option(
        False, help="report logprobs after the chain instead of the raw model's"
    )

    def __post_init__(self) -> None:
        check(self)
        for name in (*_TEXTS, *_TOKEN_IDS):
            object.__setattr__(self, name, _tuple_of(name, getattr(self, name)))
        list(self._biases())  # raises for what is no bias
        self._check_chain()
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise OptionError(f"min_tokens is {self.min_tokens}, more than max_tokens {self.max_tokens}")
        if self.post_sampling_probs and self.logprobs is None:
            raise OptionError("post_sampling_probs changes what logprobs reports; set logprobs too")

    def seeded(self) -> Sampling:
        """Return the same with a seed, so that whoever keeps it can repeat the answer."""
        if self.seed is not None:
            return self
        # 48 bits: a JavaScript client repeats them exactly
        return dataclasses.replace(self, seed=int.from_bytes(os.urandom(6), "little"))

    def to_native(
        self, vocab_size: int, *, end_ids: Iterable[int], dry_breakers: Sequence[Sequence[int]] = ()
    ) -> _native.SamplerParams:
        """Return the sampler's parameters for one model; their seed repeats the answer.

        end_ids: the model's EOS, EOT and EOM. dry_breakers: what the texts of that name are in the
        model's tokens. Raises OptionError for a token id outside the vocabulary.
        """
        from tropilla import _native

        params = _native.SamplerParams()
        for field in dataclasses.fields(self):
            if field.name not in _NOT_NATIVE:
                setattr(params, field.name, _countable(getattr(self, field.name)))
        params.seed = typing.cast(int, self.seeded().seed)
        params.logit_bias = list(self._biases())
        params.end_ids = sorted(end_ids)
        params.dry_breakers = dry_breakers
        self._check_vocabulary(vocab_size)
        return params

    def _check_chain(self) -> None:
        for name in self.samplers:
            if name not in CHAIN:
                raise OptionError(f"unknown sampler {name!r}{suggestion(name, CHAIN) or _known_samplers()}")
        for step, switches in CHAIN.items():
            for switch in self._switched_on(switches):
                if step not in self.samplers:
                    raise OptionError(f"{switch} is set, but samplers leaves out {step!r}; name it there")
                if self.mirostat and step != "temperature":
                    raise OptionError(f"mirostat replaces {step!r}; leave {switch} at its default")
        if self.mirostat:
            for name in self._switched_on(_DRAWS):
                raise OptionError(f"mirostat draws in its own way; leave {name} at its default")

    def _switched_on(self, switches: Mapping[str, tuple[float, ...]]) -> Iterator[str]:
        """Yield the options that the caller, not a default, has set to something that acts."""
        for name, neutral in switches.items():
            if getattr(self, name) not in (*neutral, type(self).__dataclass_fields__[name].default):
                yield name

    def _biases(self) -> Iterator[tuple[int, float]]:
        """Yield token ids and biases; keys may be decimal texts, as in JSON and TOML."""
        if not isinstance(self.logit_bias, Mapping):
            raise OptionError(f"logit_bias must map token ids to biases, got {self.logit_bias!r}")
        for key, bias in self.logit_bias.items():
            if not str(key).isdecimal() or isinstance(key, bool):
                raise OptionError(f"logit_bias must map token ids to biases, got the id {key!r}")
            if bias is False:
                yield int(key), -math.inf
            elif isinstance(bias, bool) or not isinstance(bias, int | float) or not bias < math.inf:
                raise OptionError(f"logit_bias of {key} must be a finite number or false, got {bias!r}")
            else:
                yield int(key), float(bias)

    def _check_vocabulary(self, vocab_size: int) -> None:
        named = {name: getattr(self, name) for name in _TOKEN_IDS}
        for name, ids in {**named, "logit_bias": [key for key, _ in self._biases()]}.items():
            for token_id in ids:
                if token_id >= vocab_size:
                    raise OptionError(f"{name}: {token_id} is not among the model's {vocab_size} token ids")


def _countable(value: object) -> object:
    return min(value, _MOST) if isinstance(value, int) else value


def _known_samplers() -> str:
    return f"; known are {', '.join(CHAIN)}"


def themes() -> dict[str, list[str]]:
    """Return the names of all options under the headings that help pages give them."""
    grouped: dict[str, list[str]] = {}
    heading = ""
    for name in limits_of(Sampling):
        heading = _THEMES.get(name, heading)
        grouped.setdefault(heading, []).append(name)
    return grouped


def _tuple_of(name: str, values: object) -> tuple[object, ...]:
    """Return a list, as JSON and TOML have, as a tuple; refuse what is not one or holds other things."""
    what = "token ids" if name in _TOKEN_IDS else "texts"
    if not isinstance(values, list | tuple) or not all(_is_item(name, value) for value in values):
        raise OptionError(f"{name} must be a list of {what}, got {values!r}")
    return tuple(values)


def _is_item(name: str, value: object) -> bool:
    if name in _TOKEN_IDS:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return isinstance(value, str) and (value != "" or name == "samplers")
