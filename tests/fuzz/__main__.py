"""Run the fuzzer from the command line, on an extension that was built with sanitizers if one is given."""

from __future__ import annotations

import argparse
import faulthandler
import importlib.machinery
import importlib.util
import sys
from pathlib import Path


def use_native(library: Path) -> None:
    """Load this build of the extension in place of the installed one."""
    name = "tropilla._native"
    loader = importlib.machinery.ExtensionFileLoader(name, str(library))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    sys.modules[name] = module


def main() -> int:
    """Fuzz for a time; exits 1 on a broken promise, and dies loudly on a sanitizer's report."""
    faulthandler.enable()
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workspace", type=Path, default=Path("build/fuzz"))
    parser.add_argument("--native", type=Path, help="the extension's file to test")
    args = parser.parse_args()
    if args.native is not None:
        use_native(args.native.resolve())
    from tests.fuzz.fuzzer import FuzzFailureError, fuzz  # after use_native: it imports the extension

    sys.stderr.write(f"fuzzing for {args.seconds:g} s; the case at work lies in {args.workspace / 'case'}\n")
    try:
        findings = fuzz(args.workspace, seconds=args.seconds, seed=args.seed)
    except FuzzFailureError as failure:
        sys.stderr.write(f"FAILED with seed {args.seed}: {failure}\n")
        raise
    sys.stderr.write(
        f"{findings.n_cases} cases, {findings.n_kept} kept, {findings.n_edges} edges of code: no failure\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
