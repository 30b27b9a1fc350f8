"""Fixtures that several test folders share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tropilla.errors import TropillaError
from tropilla.hub.library import resolve

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real data beside the project; skip where it is absent."""
    if not REAL_DATA.is_dir():
        pytest.skip("the real data folder ../shared/data is not here")
    return REAL_DATA


@pytest.fixture(scope="session")
def default_model() -> Path:
    """Return the GGUF file of the default model in the user's library; skip where it was not pulled."""
    try:
        return resolve("smollm2")
    except TropillaError as error:
        pytest.skip(f"the default model is not here: {error}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test by the files it uses, so that -m 'not realdata' and the like leave them out."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "real_data" in fixtures:
            item.add_marker(pytest.mark.realdata)
        if "default_model" in fixtures:
            item.add_marker(pytest.mark.default_model)
