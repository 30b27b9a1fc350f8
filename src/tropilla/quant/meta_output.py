"""Write a checkpoint as Meta's own releases look: consolidated.00.pth and params.json."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tropilla.errors import UnsupportedError
from tropilla.events import Event, Notice, Saved
from tropilla.formats.checkpoint import Checkpoint
from tropilla.formats.names import META, META_KEYS, to_foreign
from tropilla.formats.tensor_types import TensorType
from tropilla.formats.torch_writer import TorchWriter
from tropilla.quant.folder_vocabulary import write_tokenizer_files
from tropilla.quant.llama3_rope import ROPE_FACTORS, rope_rule
from tropilla.quant.new_folder import folder_bytes, new_folder, write_json
from tropilla.quant.outputs import Output, stream
from tropilla.quant.target_types import float_type

# The numbers that stand in Meta's code and not in its files.
_SCALING = {"kind": "llama3", "low_freq_factor": 1.0, "original_context_length": 8192}


def write_meta(checkpoint: Checkpoint, destination: Path, wanted: TensorType | None) -> Iterator[Event]:
    """Write the folder, yielding events.

    Raises UnsupportedError for biases, q and k norms and rope scalings that Meta's code does not have.
    """
    outputs = list(_outputs(checkpoint, wanted))
    params = _params(checkpoint)
    with new_folder(destination) as folder:
        if write_tokenizer_files(checkpoint, folder, keep_ranks=True) is None:
            yield Notice(text="the source has no tokenizer, so the result has none")
        write_json(folder / "params.json", params)
        with TorchWriter(folder / "consolidated.00.pth", [output.planned for output in outputs]) as writer:
            yield from stream(writer, outputs, "converting")
    yield Saved(path=destination, size_bytes=folder_bytes(destination))


def _outputs(checkpoint: Checkpoint, wanted: TensorType | None) -> Iterator[Output]:
    layouts = {name: tensor for name, tensor in checkpoint.tensors.layouts.items() if name != ROPE_FACTORS}
    # Meta's code has no shared output matrix, so a shared one is written twice.
    layouts.setdefault("output.weight", layouts["token_embd.weight"])
    for name, tensor in layouts.items():
        yield Output(to_foreign(name, META), float_type(tensor.type, wanted), tensor)


def _params(checkpoint: Checkpoint) -> dict[str, object]:
    ours = checkpoint.hyperparameters
    names = ("dim", "n_layers", "n_heads", "n_kv_heads", "norm_eps", "rope_theta", "context_length")
    params: dict[str, object] = {META_KEYS[name]: ours[name] for name in names}
    dim, n_heads, ffn_dim = ours["dim"], ours["n_heads"], ours["ffn_dim"]
    assert isinstance(dim, int)
    assert isinstance(n_heads, int)
    assert isinstance(ffn_dim, int)
    params |= {"vocab_size": ours["vocab_size"], **_width_rule(dim, ffn_dim)}
    if ours["head_dim"] != dim // n_heads:
        params[META_KEYS["head_dim"]] = ours["head_dim"]  # as Mistral's releases have it
    if ours.get("sliding_window") is not None:
        params[META_KEYS["sliding_window"]] = ours["sliding_window"]
    return params | _scaling(checkpoint)


def _width_rule(dim: int, ffn_dim: int) -> dict[str, object]:
    """Return the settings from which Meta's code computes the feed-forward width (FeedForward.__init__)."""
    base = int(2 * (4 * dim) / 3)
    for multiple_of in (256, 1024, 4096, 32, 1):
        if -(-base // multiple_of) * multiple_of == ffn_dim:
            return {"multiple_of": multiple_of}
    # The code truncates base times this; a half keeps the product clear of the whole number below.
    return {"multiple_of": 1, "ffn_dim_multiplier": (ffn_dim + 0.5) / base}


def _scaling(checkpoint: Checkpoint) -> dict[str, object]:
    rule = rope_rule(checkpoint)
    if rule is None:
        return {}
    if any(rule.get(name) != value for name, value in _SCALING.items()):
        raise UnsupportedError(
            f"{checkpoint.path}: Meta's files cannot state this {rule['kind']} rope scaling"
        )
    return {
        META_KEYS["scaled_rope"]: True,
        META_KEYS["scaling_factor"]: rule["factor"],
        META_KEYS["scaling_high_freq_factor"]: rule["high_freq_factor"],
    }
