"""The catalogue's facts are well formed, and its shapes have the published numbers of weights."""

from __future__ import annotations

import dataclasses
import typing

import pytest

from tropilla.hub.catalogue import (
    OWN_TEMPLATE,
    CatalogueModel,
    Family,
    HuggingFaceSource,
    Shape,
    WheelSource,
    catalogue,
    parse_catalogue,
)
from tropilla.hub.names import model_id
from tropilla.model.config import LLAMA_SIZES
from tropilla.text.prompt_formats import PROMPT_FORMATS

MODELS = {model.name: model for model in catalogue().models}

# Exact numbers of weights: LLaMA's derived in the paper's table 2 sizes (L * (4d^2 + 3dh + 2d) + 2Vd + d),
# the others as their makers' model cards state them. A tied embedding counts once.
PUBLISHED = {
    "smollm2": 134_515_008,
    "smollm2-360m": 361_821_120,
    "smollm2-1.7b": 1_711_376_384,
    "tinyllama": 1_100_048_384,
    "llama-7b": 6_738_415_616,
    "llama-13b": 13_015_864_320,
    "llama-33b": 32_528_943_616,
    "llama-65b": 65_285_660_672,
    "llama-2-70b": 68_976_648_192,
    "llama-3-8b": 8_030_261_248,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "llama-3.3-70b": 70_553_706_496,
    "mistral-7b": 7_248_023_552,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-3b": 3_085_938_688,
    "qwen2.5-7b": 7_615_616_512,
    "qwen2.5-14b": 14_770_033_664,
    "qwen2.5-32b": 32_763_876_352,
    "qwen2.5-72b": 72_706_203_648,
    "qwen3-0.6b": 596_049_920,
    "qwen3-4b": 4_022_468_096,
    "qwen3-8b": 8_190_735_360,
    "qwen3-14b": 14_768_307_200,
    "qwen3-32b": 32_762_123_264,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_shape_has_the_published_number_of_weights(name: str) -> None:
    assert MODELS[name].shape.n_parameters == PUBLISHED[name]


def test_every_family_of_2023_is_listed_with_its_sizes() -> None:
    """F53: the overview table of the history that Tropilla follows."""
    sizes = {family.title: family.sizes for family in catalogue().families}
    assert (
        sizes.items()
        >= {
            "LLaMA": "7B, 13B, 33B, 65B",
            "Alpaca": "7B, 13B",
            "Vicuna": "7B, 13B",
            "Koala-Distill": "7B, 13B",
            "GPT4-x-Alpaca": "13B",
            "WizardLM": "7B",
            "OpenAssistant LLaMA": "13B, 30B",
        }.items()
    )


def test_names_and_aliases_are_ids_and_each_means_one_model() -> None:
    names = catalogue().names()
    assert len(names) == len(set(names))
    assert all(model_id(name) == name for name in names)
    for name in names:
        assert catalogue().get(name) is catalogue().get(name.upper()) is not None


def test_every_model_belongs_to_a_family_and_can_be_got_somehow() -> None:
    families = {family.name for family in catalogue().families}
    assert len(families) == len(catalogue().families)
    for model in catalogue().models:
        assert model.family in families
        assert bool(model.source) != bool(model.get), model.name
        assert model.how_to_get
    assert {model.family for model in catalogue().models} == families


def test_every_prompt_format_is_built_in_or_the_model_s_own() -> None:
    known = catalogue()
    used = {family.prompt_format for family in known.families} | {m.prompt_format for m in known.models}
    assert used <= {*PROMPT_FORMATS, OWN_TEMPLATE}


@pytest.mark.parametrize("size", LLAMA_SIZES)
def test_llama_s_shapes_are_the_model_room_s(size: str) -> None:
    """The two rooms cannot import each other; they must still agree."""
    config = LLAMA_SIZES[size]
    shape = MODELS[f"llama-{size.lower()}"].shape
    for field in (
        "dim",
        "n_layers",
        "n_heads",
        "n_kv_heads",
        "head_dim",
        "ffn_dim",
        "vocab_size",
        "context_length",
    ):
        assert getattr(shape, field) == getattr(config, field), field


@pytest.mark.parametrize("entry", [*catalogue().families, *catalogue().models], ids=lambda entry: entry.name)
def test_every_value_has_its_declared_type(entry: Family | CatalogueModel) -> None:
    hints = typing.get_type_hints(type(entry))
    for field in dataclasses.fields(entry):
        value = getattr(entry, field.name)
        if hints[field.name] in (str, bool, int, float):
            assert isinstance(value, hints[field.name]), field.name
        if hints[field.name] is str and field.name not in ("get", "recipe"):
            assert value.strip() == value != "", field.name


@pytest.mark.parametrize("name", MODELS)
def test_the_shape_is_one_that_a_llama_can_have(name: str) -> None:
    shape = MODELS[name].shape
    for field in dataclasses.fields(Shape):
        value = getattr(shape, field.name)
        assert isinstance(value, bool) if field.type == "bool" else value > 0
    assert shape.n_heads % shape.n_kv_heads == 0
    assert shape.head_dim % 2 == 0


@pytest.mark.parametrize("name", MODELS)
def test_a_source_names_real_looking_files(name: str) -> None:
    source = MODELS[name].source
    if isinstance(source, HuggingFaceSource):
        assert source.repo.count("/") == 1
        assert source.files
        for type_, file in source.files.items():
            assert type_.lower() in file.lower()
            assert file.endswith(".gguf")
    if isinstance(source, WheelSource):
        assert len(source.sha256) == 64
        assert "==" in source.requirement


def test_an_unknown_key_is_noticed() -> None:
    with pytest.raises(TypeError, match="colour"):
        parse_catalogue('family = [{name = "x", colour = "red"}]\nmodel = []')
