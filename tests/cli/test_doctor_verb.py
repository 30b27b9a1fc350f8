"""tropilla doctor: one page for a person, one object for a script, a status for a shell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.hub.test_library import put
from tropilla import __version__
from tropilla.cli import main


@pytest.mark.usefixtures("library")
def test_the_page_has_its_sections_and_next_steps(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["doctor"])
    out = capsys.readouterr().out
    assert out.startswith(f"Tropilla {__version__}\n")
    assert [line for line in out.splitlines() if line in ("Machine", "Library", "Tools")] == [
        "Machine",
        "Library",
        "Tools",
    ]
    assert "→ tropilla pull smollm2" in out
    assert ("Everything is in order." in out) == (status == 0)


def test_a_problem_is_counted_and_sets_the_status(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put("damaged", b"junk")
    assert library.exists()
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "✗  damaged" in out
    assert "to repair: see ✗ above" in out


@pytest.mark.usefixtures("library")
def test_json_holds_machine_and_findings(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", "--json", "--verify"])
    told = json.loads(capsys.readouterr().out)
    assert told["version"] == __version__
    assert told["machine"]["memory"]["total_bytes"] > 0
    assert told["machine"]["limits"]["bandwidth"] > 0
    assert {finding["level"] for finding in told["findings"]} <= {"ok", "note", "problem"}
    assert {finding["section"] for finding in told["findings"]} == {"Machine", "Library", "Tools"}
