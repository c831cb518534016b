"""What `leap.mail` offers is what docs/api.md names, and it is documented."""

from __future__ import annotations

import importlib.metadata
import inspect
import re
import subprocess
import sys
from pathlib import Path

import leap.mail
from leap.mail import contract

API = Path(__file__).resolve().parents[2] / "docs" / "api.md"


def test_the_page_names_all_that_is_public_and_nothing_else() -> None:
    table = API.read_text().partition("## The names")[2].partition("\n## ")[0]
    named = {
        name
        for line in table.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    assert named == set(leap.mail.__all__)
    assert sorted(leap.mail.__all__) == leap.mail.__all__


def test_every_error_of_an_account_is_public() -> None:
    errors = {
        name
        for name, found in vars(contract).items()
        if isinstance(found, type) and issubclass(found, contract.AccountError)
    }
    assert errors <= set(leap.mail.__all__)


def test_all_that_is_public_has_a_docstring() -> None:
    missing = []
    for name in leap.mail.__all__:
        found = getattr(leap.mail, name)
        if not isinstance(found, type) or "NewType" in str(type(found)):
            continue
        if found.__module__ == contract.__name__ and not issubclass(found, Exception):
            continue  # values say what they are by their fields
        if not found.__doc__:
            missing.append(name)
        for method, value in vars(found).items():
            function = value.fget if isinstance(value, property) else value
            if method.startswith("_") or not inspect.isroutine(function):
                continue
            if not inspect.getdoc(function):
                missing.append(f"{name}.{method}")
    assert missing == []


def test_the_version_is_that_of_the_distribution() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", leap.mail.__version__)
    assert importlib.metadata.version("leap-mail") == leap.mail.__version__


def test_importing_the_package_imports_no_account() -> None:
    code = "import sys, leap.mail; print([m for m in sys.modules if m.startswith('leap.mail.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['leap.mail.version']"
