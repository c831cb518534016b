"""One world for all attacks of a session, made once over HTTPS and copied for each run."""

import ssl
from pathlib import Path

import pytest

from tests.hostile import world


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    return world.make(tmp_path_factory.mktemp("hostile"))
