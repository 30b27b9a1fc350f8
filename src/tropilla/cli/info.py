"""tropilla info: what a model file is, and what it needs."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tropilla.cli.quantities import human_count
from tropilla.errors import OptionError
from tropilla.hub.disk import human_bytes
from tropilla.hub.library import resolve

if TYPE_CHECKING:
    from tropilla.model.describe import ModelDescription

Row = tuple[str, str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("model", help="a name of your library, a model file or a model folder")
    parser.add_argument(
        "--context",
        type=int,
        metavar="TOKENS",
        help="count memory for this context (default: the model's own)",
    )
    parser.add_argument("--tensors", action="store_true", help="list every tensor with its type and shape")
    parser.add_argument("--template", action="store_true", help="print the chat template and nothing else")
    parser.add_argument("--json", action="store_true", help="print JSON for scripts")


def run(args: argparse.Namespace) -> int:
    """Print the description."""
    from tropilla.model.describe import describe

    if args.context is not None and args.context < 1:
        raise OptionError(f"--context must be at least 1, got {args.context}")
    description = describe(resolve(args.model))
    context_length = args.context or description.config.context_length
    if args.template:
        print(description.chat_template or "")
    elif args.json:
        print(json.dumps(_as_json(description, context_length), indent=1, ensure_ascii=False))
    else:
        print(description.path)
        _print_rows(list(_rows(description, context_length)))
    if args.tensors and not args.json:
        _print_tensors(description.path)
    return 0


def _rows(description: ModelDescription, context_length: int) -> Iterator[Row]:
    config = description.config
    yield "format", f"{description.format}, architecture {description.architecture}"
    if description.name:
        yield "name", description.name
    if description.licence:
        yield "licence", description.licence
    yield "parameters", human_count(description.n_parameters)
    yield "shape", f"{config.n_layers} layers of {config.dim}, feed-forward {config.ffn_dim}"
    yield "attention", f"{config.n_heads} heads of {config.head_dim}, {config.n_kv_heads} for keys and values"
    yield (
        "vocabulary",
        f"{config.vocab_size} tokens, output {'tied' if config.tied_embeddings else 'of its own'}",
    )
    yield "context", f"{config.context_length} tokens, {_rope_words(description)}"
    yield from _extras(description)
    shares = (f"{share.tensors} {name}" for name, share in description.types.items())
    size = human_bytes(description.weights_bytes)
    yield "weights", f"{size}, {description.bits_per_weight:.2f} bits each: {', '.join(shares)}"
    yield "tokenizer", description.tokenizer or "none in the file"
    yield "chat template", _template_words(description.chat_template)
    yield "memory", _memory_words(description, context_length)


def _rope_words(description: ModelDescription) -> str:
    scaling = description.config.rope_scaling
    stretched = "" if scaling is None else f", {scaling.kind} scaling by {scaling.factor:g}"
    return f"RoPE base {description.config.rope_theta:g}{stretched}"


def _extras(description: ModelDescription) -> Iterator[Row]:
    config = description.config
    biases = {"q k v": config.qkv_bias, "output": config.output_bias, "feed-forward": config.mlp_bias}
    if any(biases.values()):
        yield "biases", ", ".join(name for name, present in biases.items() if present)
    if config.qk_norm:
        yield "norms", "on queries and keys too"
    if config.sliding_window is not None:
        yield "window", f"a token sees {config.sliding_window} tokens"


def _template_words(template: str | None) -> str:
    return (
        "none in the file" if template is None else f"yes, {len(template)} characters (--template prints it)"
    )


def _memory_words(description: ModelDescription, context_length: int) -> str:
    per_token = description.config.kv_bytes_per_token()
    total = human_bytes(description.memory_bytes(context_length))
    kept = human_bytes(context_length * per_token)
    return f"{total}: weights and {kept} for {context_length} tokens ({human_bytes(per_token)} each)"


def _print_rows(rows: list[Row]) -> None:
    width = max(len(label) for label, _ in rows)
    for label, value in rows:
        print(f"  {label:{width}}  {value}")


def _print_tensors(path: str) -> None:
    from tropilla.formats.checkpoint import open_checkpoint

    with open_checkpoint(path) as checkpoint:
        rows = [
            (name, f"{layout.type.name:6} {' x '.join(map(str, layout.shape))}")
            for name, layout in checkpoint.tensors.layouts.items()
        ]
    _print_rows(rows)


def _as_json(description: ModelDescription, context_length: int) -> dict[str, Any]:  # Any: JSON
    return {
        **dataclasses.asdict(description),
        "n_parameters": description.n_parameters,
        "weights_bytes": description.weights_bytes,
        "bits_per_weight": description.bits_per_weight,
        "memory": {
            "context_length": context_length,
            "kv_bytes_per_token": description.config.kv_bytes_per_token(),
            "total_bytes": description.memory_bytes(context_length),
        },
    }
