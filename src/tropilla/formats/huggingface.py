"""Read Hugging Face model folders: config.json, safetensors (or torch) weights, tokenizer files.

q and k rows come in the half-split order of rotary pairs and are interleaved when they are read.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from tropilla.errors import FormatError
from tropilla.formats.checkpoint import Checkpoint
from tropilla.formats.fields import Fields
from tropilla.formats.folder_tokenizer import folder_chat_template, folder_tokenizer
from tropilla.formats.huggingface_config import architecture_of, hyperparameters_of
from tropilla.formats.json_file import read_json_object
from tropilla.formats.names import HUGGING_FACE, HUGGING_FACE_KEYS, from_foreign, is_ignored, unknown_tensor
from tropilla.formats.safetensors import SafetensorsFile
from tropilla.formats.tensors import LazyTensor, Tensors, from_half_split
from tropilla.formats.torch_archive import TorchArchive
from tropilla.formats.traits import traits

_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_SINGLE_FILES = ("model.safetensors", "pytorch_model.bin")


def open_hugging_face(path: Path) -> Checkpoint:
    """Open a model folder, also through the name of a weight file in it."""
    folder = path if path.is_dir() else path.parent
    config = Fields(folder / "config.json", read_json_object(folder / "config.json"))
    architecture = architecture_of(config)
    hyperparameters = hyperparameters_of(config, architecture)
    head_dim = hyperparameters["head_dim"]
    assert isinstance(head_dim, int)
    with ExitStack() as stack:
        shards = []
        for file in _weight_files(folder):
            shards.append(_open_weights(file))
            stack.callback(shards[-1].close)
        tied = config.flag(HUGGING_FACE_KEYS["tied_embeddings"], default=False)
        layouts = _by_our_names(folder, shards, head_dim, tied=tied)
        hyperparameters |= traits(folder, {name: tensor.shape for name, tensor in layouts.items()})
        return Checkpoint(
            path=path,
            format="Hugging Face",
            architecture=architecture,
            hyperparameters=hyperparameters,
            tensors=Tensors(layouts),
            tokenizer=folder_tokenizer(folder),
            chat_template=folder_chat_template(folder),
            metadata={"name": folder.resolve().name},
            on_close=stack.pop_all().close,
        )


def _open_weights(path: Path) -> SafetensorsFile | TorchArchive:
    return SafetensorsFile(path) if path.suffix == ".safetensors" else TorchArchive(path)


def _weight_files(folder: Path) -> list[Path]:
    for index in _INDEXES:
        if (folder / index).is_file():
            return _indexed_files(folder / index)
    for name in _SINGLE_FILES:
        if (folder / name).is_file():
            return [folder / name]
    raise FormatError(folder, "has config.json but no model.safetensors; was the download cut off?")


def _indexed_files(index: Path) -> list[Path]:
    """Return the weight files that an index names; only plain names in its own folder are followed."""
    weight_map = read_json_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise FormatError(index, "has no weight_map from tensors to files")
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        if Path(name).name != name or "\\" in name or not (index.parent / name).is_file():
            raise FormatError(index, f"names the weight file {name[:80]!r}, which is not beside it")
    return [index.parent / name for name in names]


def _by_our_names(
    folder: Path, shards: list[SafetensorsFile | TorchArchive], head_dim: int, *, tied: bool
) -> dict[str, LazyTensor]:
    layouts: dict[str, LazyTensor] = {}
    for shard in shards:
        for name, tensor in shard.tensors.items():
            ours = from_foreign(name, HUGGING_FACE)
            if ours is None and is_ignored(name, HUGGING_FACE):
                continue
            if ours is None:
                raise unknown_tensor(folder, name)
            if ours in layouts:
                raise FormatError(shard.path, f"tensor {name!r} is also in an earlier file")
            layouts[ours] = from_half_split(folder, ours, tensor, head_dim)
    if tied:
        layouts.pop("output.weight", None)  # some files repeat the embedding under this name
    elif "output.weight" not in layouts:
        raise FormatError(folder, "has no lm_head.weight, and config.json says that it is not the embedding")
    return layouts
