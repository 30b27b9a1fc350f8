"""What naming a model costs: the chat's start goes through here."""

from __future__ import annotations

import subprocess
import sys

HEAVY = (
    "numpy",
    "rich",
    "filelock",
    "urllib.request",
    "tomllib",
    "shutil",
    "subprocess",
    "tropilla.hub.catalogue",
)

SCRIPT = f"""
import sys
sys.path[:0] = {sys.path!r}
from tropilla.hub.library import resolve
before = set(sys.modules)
resolve("tiny")
print(*sorted(set({HEAVY!r}) & set(sys.modules)))
"""


def test_finding_an_installed_model_loads_nothing_heavy() -> None:
    from tests.hub.test_library import put

    put("tiny")
    result = subprocess.run([sys.executable, "-S", "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
