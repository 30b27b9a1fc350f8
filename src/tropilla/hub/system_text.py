"""What the operating system says in files and through its small tools; "" where it says nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path


def file_text(path: Path) -> str:
    """Return a system file's text, "" if it cannot be read."""
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError:
        return ""


def command_text(*command: str) -> str:
    """Return what a command prints, "" if it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
