"""A room imports only rooms on lower floors; rooms on one floor never import each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import tropilla

PACKAGE = Path(tropilla.__file__).parent

FLOORS = {
    "errors": 0, "options": 0, "events": 0, "jobs": 0,
    "formats": 1,
    "_native": 2, "text": 2,
    "model": 3, "data": 3, "store": 3, "hub": 3,
    "engine": 4, "quant": 4, "train": 4,
    "api": 5,
    "factory": 6, "evals": 6, "corpus": 6,
    "server": 7,
    "cli": 8,
}  # fmt: skip
TORCH_ROOMS = {"model/torch_llama.py", "engine/gpu.py", "train"}


def room_of(module: str) -> str | None:
    """Return the room that a tropilla module lies in; None for the package itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else None


def imports_of(path: Path) -> Iterator[str]:
    """Yield every module that a file imports, at the top or inside functions."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            if node.module == "tropilla":
                yield from (f"tropilla.{alias.name}" for alias in node.names)
            else:
                yield node.module


def rooms() -> Iterator[tuple[Path, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        room = relative.parts[0].removesuffix(".py")
        if room not in ("__init__", "__main__", "py"):
            yield path, room


def test_every_room_has_a_floor() -> None:
    assert {room for _, room in rooms()} <= FLOORS.keys()


def test_rooms_import_only_lower_floors() -> None:
    wrong = []
    for path, room in rooms():
        for module in imports_of(path):
            if module.split(".")[0] != "tropilla":
                continue
            target = room_of(module)
            if target is None or target == room or target not in FLOORS:
                continue
            if FLOORS[target] >= FLOORS[room] and not (FLOORS[target] == FLOORS[room] == 0):
                wrong.append(f"{path.relative_to(PACKAGE)} imports {module}")
    assert not wrong


def test_torch_stays_in_its_rooms() -> None:
    for path, room in rooms():
        relative = path.relative_to(PACKAGE).as_posix()
        if room in TORCH_ROOMS or relative in TORCH_ROOMS:
            continue
        assert "torch" not in {module.split(".")[0] for module in imports_of(path)}, relative


def test_nothing_unpickles_or_evaluates() -> None:
    """Model files and requests are data: no pickle, eval or exec anywhere in the package."""
    for path, _ in rooms():
        tree = ast.parse(path.read_text("utf-8"))
        called = {
            n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
        }
        assert not called & {"eval", "exec", "compile"}, path
        assert "pickle" not in set(imports_of(path)), path
