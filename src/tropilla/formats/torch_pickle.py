"""The part of a torch checkpoint that is a pickle, read without unpickling: data in, data out.

A pickle is a program for a small stack machine, and unpickling runs whatever functions it names.
This machine knows only the steps with which torch writes a dictionary of tensors, and no step of it
calls anything that the file chooses. Step meanings: pickletools in the standard library.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tropilla.errors import FormatError, UnsupportedError


class Storage(NamedTuple):
    """Name a run of numbers that the archive holds under `key`."""

    kind: str  # torch's word, such as "HalfStorage"
    key: str
    n_items: int


@dataclass(frozen=True, slots=True)
class PickledTensor:
    """Describe a contiguous tensor within a storage; offset counts items, shape is row-major."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]


class _Function(NamedTuple):
    """Stand for a class or function that the pickle names; it is never imported."""

    module: str
    name: str


class _Mark:
    """Stand for the bottom of an unfinished list, tuple or dictionary on the stack."""


_MARK = _Mark()
_ORDERED_DICT = _Function("collections", "OrderedDict")
_TENSOR = _Function("torch._utils", "_rebuild_tensor_v2")
_PARAMETER = _Function("torch._utils", "_rebuild_parameter")
_STORAGES = {
    _Function("torch", kind + "Storage")
    for kind in ("Float", "Half", "BFloat16", "Double", "Long", "Int", "Short", "Char", "Byte", "Bool")
}
_KNOWN_FUNCTIONS = {_ORDERED_DICT, _TENSOR, _PARAMETER} | _STORAGES
# Real ones of the largest models stay far below; each step of a pickle costs memory.
MAX_PICKLE_BYTES = 32 << 20


def read_tensors(path: Path, pickle_bytes: bytes) -> dict[str, PickledTensor]:
    """Return the tensors of a checkpoint's dictionary by name; other entries are left out.

    path: for errors. A dictionary under "model", "state_dict" or "module" counts as the checkpoint.
    Raises FormatError for a damaged pickle, UnsupportedError for one that wants anything else.
    """
    if len(pickle_bytes) > MAX_PICKLE_BYTES:
        raise FormatError(
            path, f"its index has {len(pickle_bytes)} bytes, at most {MAX_PICKLE_BYTES} expected"
        )
    content = _Machine(path).run(pickle_bytes)
    if isinstance(content, dict):
        for wrapper in ("model", "state_dict", "module"):
            if isinstance(content.get(wrapper), dict):
                content = content[wrapper]
                break
    if not isinstance(content, dict):
        raise FormatError(path, "holds no dictionary of tensors")
    return {name: value for name, value in content.items() if isinstance(value, PickledTensor)}


class _Machine:
    """Execute the allowed steps of one pickle on a stack of plain values."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stack: list[object] = []
        self._memo: dict[int, object] = {}

    def run(self, pickle_bytes: bytes) -> object:
        try:
            for step, argument, position in pickletools.genops(pickle_bytes):
                if step.name == "STOP":
                    return self._stack.pop()
                self._execute(step.name, argument, position)
        except (ValueError, IndexError, KeyError, UnicodeDecodeError) as error:
            raise FormatError(self._path, f"its index of tensors is damaged ({error})") from error
        raise FormatError(self._path, "its index of tensors has no end")

    def _execute(self, step: str, argument: object, position: int | None) -> None:
        if step in _PUSH_ARGUMENT:
            self._stack.append(argument)
        elif step in _PUSH_CONSTANT:
            self._stack.append(_PUSH_CONSTANT[step]())
        elif step in _ACTIONS:
            _ACTIONS[step](self, argument)
        elif step not in ("PROTO", "FRAME"):
            raise UnsupportedError(
                f"{self._path}: its pickle uses step {step} at byte {position}, which no plain dictionary of "
                "tensors needs; save the weights alone, without optimizer or classes"
            )

    def _name_function(self, argument: object) -> None:
        module, _, name = str(argument).partition(" ")
        self._push_function(module, name)

    def _name_function_from_stack(self, _: object) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._push_function(str(module), str(name))

    def _push_function(self, module: str, name: str) -> None:
        function = _Function(module, name)
        if function not in _KNOWN_FUNCTIONS:
            raise UnsupportedError(
                f"{self._path}: its pickle asks for {module[:80]}.{name[:80]}, which a dictionary of tensors "
                "does not need; the file may be malicious, and nothing of it was run"
            )
        self._stack.append(function)

    def _remember(self, argument: object) -> None:
        self._memo[len(self._memo) if argument is None else _whole(argument)] = self._stack[-1]

    def _recall(self, argument: object) -> None:
        self._stack.append(self._memo[_whole(argument)])

    def _above_mark(self) -> list[object]:
        above: list[object] = []
        while (value := self._stack.pop()) is not _MARK:
            above.append(value)
        return above[::-1]

    def _tuple_above_mark(self, _: object) -> None:
        self._stack.append(tuple(self._above_mark()))

    def _tuple_of(self, count: int) -> None:
        if len(self._stack) < count:
            raise ValueError("too few values for a tuple")
        values = tuple(self._stack[-count:])
        del self._stack[-count:]
        self._stack.append(values)

    def _append(self, values: list[object]) -> None:
        target = self._stack[-1]
        if not isinstance(target, list):
            raise ValueError("appends to something that is no list")
        target.extend(values)

    def _set_items(self, pairs: list[object]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or len(pairs) % 2:
            raise ValueError("sets items of something that is no dictionary")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            # Other keys are nested data at best; hashing a tuple bomb would never end.
            if isinstance(key, str | int):
                target[key] = value

    def _set_item(self, _: object) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set_items([key, value])

    def _drop_attributes(self, _: object) -> None:
        """Leave out the attributes that torch hangs on a state dictionary (`_metadata`)."""
        self._stack.pop()
        if not isinstance(self._stack[-1], dict):
            raise ValueError("sets attributes of something that is no dictionary")

    def _name_storage(self, _: object) -> None:
        match self._stack.pop():
            case ("storage", _Function() as kind, str(key), str(), int(n_items)) if kind in _STORAGES:
                self._stack.append(Storage(kind.name, key, n_items))
            case _:
                raise ValueError("a storage is described in an unknown way")

    def _apply(self, _: object) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        match function, arguments:
            case _Function("collections", "OrderedDict"), ():
                self._stack.append({})
            case _Function("torch._utils", "_rebuild_parameter"), (PickledTensor() as tensor, *_):
                self._stack.append(tensor)
            case _Function("torch._utils", "_rebuild_tensor_v2"), (
                Storage() as storage,
                int(offset),
                tuple(shape),
                tuple(strides),
                *_,
            ):
                self._stack.append(self._tensor(storage, offset, shape, strides))
            case _:
                raise ValueError(f"{function} is applied in an unknown way")

    def _tensor(
        self, storage: Storage, offset: int, shape: tuple[object, ...], strides: tuple[object, ...]
    ) -> PickledTensor:
        sizes = tuple(_whole(size) for size in shape)
        if len(strides) != len(sizes):
            raise ValueError("a tensor has not one stride for each dimension")
        if len(sizes) > 8 or offset < 0 or offset + math.prod(sizes) > storage.n_items:
            raise ValueError(f"a tensor of shape {sizes} at {offset} leaves its storage of {storage.n_items}")
        contiguous = [math.prod(sizes[i + 1 :]) for i in range(len(sizes))]
        if any(size > 1 and a != b for size, a, b in zip(sizes, strides, contiguous, strict=True)):
            raise UnsupportedError(
                f"{self._path}: a tensor of shape {sizes} is stored transposed; save it with .contiguous()"
            )
        return PickledTensor(storage, offset, sizes)


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{str(value)[:80]} is no size")
    return value


_PUSH_ARGUMENT = {
    "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT",
}  # fmt: skip
_PUSH_CONSTANT: Mapping[str, Callable[[], object]] = {
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "MARK": lambda: _MARK,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
}
_ACTIONS: Mapping[str, Callable[[_Machine, object], None]] = {
    "GLOBAL": _Machine._name_function,
    "STACK_GLOBAL": _Machine._name_function_from_stack,
    "BINPUT": _Machine._remember,
    "LONG_BINPUT": _Machine._remember,
    "MEMOIZE": _Machine._remember,
    "BINGET": _Machine._recall,
    "LONG_BINGET": _Machine._recall,
    "TUPLE": _Machine._tuple_above_mark,
    "TUPLE1": lambda machine, _: machine._tuple_of(1),
    "TUPLE2": lambda machine, _: machine._tuple_of(2),
    "TUPLE3": lambda machine, _: machine._tuple_of(3),
    "APPEND": lambda machine, _: machine._append([machine._stack.pop()]),
    "APPENDS": lambda machine, _: machine._append(machine._above_mark()),
    "SETITEM": _Machine._set_item,
    "SETITEMS": lambda machine, _: machine._set_items(machine._above_mark()),
    "BUILD": _Machine._drop_attributes,
    "BINPERSID": _Machine._name_storage,
    "REDUCE": _Machine._apply,
}
