"""Look at what a fresh interpreter loads."""

from __future__ import annotations

import subprocess
import sys


def modules_after(statement: str) -> set[str]:
    """Return the names of all modules that are loaded once a statement has run."""
    program = f"{statement}\nimport sys\nprint(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())
