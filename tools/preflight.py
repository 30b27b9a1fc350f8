"""Say plainly what this machine lacks before the first build; run by make with the system's Python."""

import os
import shutil
import sys
import sysconfig
from pathlib import Path


def missing():
    """Yield one sentence for each thing that the set-up needs and this machine lacks."""
    if sys.version_info < (3, 11):
        yield f"Python 3.11 or newer is needed; {sys.executable} is {sys.version.split()[0]}. Set PYTHON=..."
    if not any(shutil.which(compiler) for compiler in (os.environ.get("CXX", "c++"), "g++", "clang++", "cl")):
        yield (
            "No C++ compiler was found. On Debian or Ubuntu: sudo apt-get install build-essential; "
            "on macOS: xcode-select --install; on Windows: install the Visual Studio Build Tools."
        )
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        yield "Python's headers were not found. On Debian or Ubuntu: sudo apt-get install python3-dev"
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        yield "Python's venv module was not found. On Debian or Ubuntu: sudo apt-get install python3-venv"


if __name__ == "__main__":
    problems = list(missing())
    for problem in problems:
        print(f"Tropilla cannot be set up yet: {problem}", file=sys.stderr)
    sys.exit(1 if problems else 0)
