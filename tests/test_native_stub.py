"""The stub of the compiled module says what the module has, down to parameters and their types."""

from __future__ import annotations

import ast
import enum
import re
from collections.abc import Mapping
from pathlib import Path

import tropilla
from tropilla import _native

STUB = Path(tropilla.__file__).with_name("_native.pyi")

# Names, with what can be said about each: a class's own names, a function's overloads as text, a
# member's value, or "type read, type written" of an attribute.
Description = dict[str, object]

# What nanobind spells differently from a stub, in this order.
SPELLINGS = {
    r"\b(?:numpy\.)?ndarray\[dtype=float32[^\]]*\]": "NDArray[np.float32]",
    r"\bndarray\[[^\]]*\]": "NDArray[np.generic]",
    r"\bcollections\.abc\.": "",
    r"\btropilla\._native\.": "",
}


def described_by_stub(body: list[ast.stmt]) -> Description:
    described: Description = {}
    for node in body:
        if isinstance(node, ast.ClassDef):
            described[node.name] = described_by_stub(node.body)
        elif isinstance(node, ast.FunctionDef):
            add_function(described, node)
        elif isinstance(node, ast.AnnAssign):
            described[ast.unparse(node.target)] = attribute(text(node.annotation), text(node.annotation))
        elif isinstance(node, ast.Assign):
            described[ast.unparse(node.targets[0])] = ast.literal_eval(node.value)
    return described


def add_function(described: Description, node: ast.FunctionDef) -> None:
    decorators = [text(decorator) for decorator in node.decorator_list]
    if "property" in decorators:
        described[node.name] = attribute(text(node.returns), None)
    elif f"{node.name}.setter" in decorators:
        read = str(described[node.name]).split(", written: ")[0].removeprefix("read: ")
        described[node.name] = attribute(read, value_type(node))
    else:
        overloads = described.setdefault(node.name, [])
        assert isinstance(overloads, list)
        overloads.append(signature(node))


def described_by_module(names: Mapping[str, object]) -> Description:
    described: Description = {}
    for name, value in names.items():
        if isinstance(value, enum.EnumType):
            described[name] = {member: value[member].value for member in value.__members__}
        elif isinstance(value, type):
            described[name] = described_by_module(vars(value))
        elif isinstance(value, property):
            [getter] = functions_of(value.fget)
            setter = next(iter(functions_of(value.fset)), None)
            described[name] = attribute(text(getter.returns), value_type(setter) if setter else None)
        elif functions_of(value):
            described[name] = [signature(function) for function in functions_of(value)]
        elif not name.startswith("__"):
            described[name] = attribute(type(value).__name__, type(value).__name__)
    return described


def functions_of(value: object) -> list[ast.FunctionDef]:
    """Return the overloads of a compiled function; none for anything else."""
    functions = []
    for declaration, *_ in getattr(value, "__nb_signature__", ()):
        for theirs, ours in SPELLINGS.items():
            declaration = re.sub(theirs, ours, declaration)
        [node] = ast.parse(declaration.replace("def (", "def accessor(") + ": ...").body
        assert isinstance(node, ast.FunctionDef)
        functions.append(node)
    return functions


def attribute(read: str, written: str | None) -> str:
    return f"read: {read}, written: {written}"


def value_type(setter: ast.FunctionDef) -> str:
    return text(setter.args.posonlyargs[1].annotation)


def signature(function: ast.FunctionDef) -> str:
    return f"({ast.unparse(function.args)}) -> {text(function.returns)}"


def text(annotation: ast.expr | None) -> str:
    assert annotation is not None, "everything in the stub has a type"
    return ast.unparse(annotation)


def test_the_stub_describes_the_module() -> None:
    stub = described_by_stub(ast.parse(STUB.read_text("utf-8")).body)
    module = described_by_module(vars(_native))
    assert stub.keys() == module.keys()
    for name, described in module.items():
        assert stub[name] == described, name
