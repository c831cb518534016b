"""What all tests share: where the mail corpus is, peers that must be there in CI, and the corpus gate."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import is_hypothesis_test, settings

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
IN_CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")

_OF_CORPUS = "reads the corpus"
_corpus_outcomes: dict[str, str] = {}
_outcomes: list[str] = []


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The shared mail corpus; skips the test when it is not beside the checkout."""
    folder = SHARED / "corpus"
    if not (folder / "MANIFEST.tsv").is_file():
        pytest.skip("the shared mail corpus is not beside this checkout (../shared/corpus)")
    return folder


def needs_program(name: str) -> str:
    """The path of a peer program; without it a test fails in CI and is skipped elsewhere."""
    path = shutil.which(name)
    if path is None:
        if IN_CI:
            pytest.fail(f"{name} is not installed; tools/setup-peers installs it")
        pytest.skip(f"{name} is not installed (tools/setup-peers says how)")
    return path


def pytest_configure(config: pytest.Config) -> None:
    """Keeps bytecode with pytest's own cache where none may lie beside the sources.

    The tests start hundreds of programs, and each would compile the whole package anew: 0.4 s of CPU each time.
    """
    if not sys.dont_write_bytecode:
        return
    folder = ROOT / ".pytest_cache" / "bytecode"
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder)
    sys.dont_write_bytecode, sys.pycache_prefix = False, str(folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Properties are tried with few examples; `make soak ARGS=properties` asks for many times as many."""
    times = int(os.environ.get("EXAMPLES_TIMES", "1"))
    for item in items if times > 1 else ():
        test = getattr(getattr(item, "obj", None), "__func__", getattr(item, "obj", None))
        if is_hypothesis_test(test):
            few = getattr(test, "_hypothesis_internal_use_settings", settings())
            test._hypothesis_internal_use_settings = settings(
                few, max_examples=few.max_examples * times
            )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if "corpus" in getattr(item, "fixturenames", ()):
        report.user_properties.append((_OF_CORPUS, "yes"))
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Notes what became of tests; with several processes, the first one hears of all."""
    if report.when == "call" or (report.when == "setup" and report.skipped):
        _outcomes.append(report.outcome)
        if (_OF_CORPUS, "yes") in report.user_properties:
            _corpus_outcomes[report.nodeid] = report.outcome


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """In CI, with the corpus present, its tests must have run: a silent skip is a failure."""
    if hasattr(session.config, "workerinput") or session.config.option.collectonly:
        return  # one of several processes: the first one decides
    if not (IN_CI and (SHARED / "corpus").is_dir()):
        return
    skipped = [name for name, outcome in _corpus_outcomes.items() if outcome == "skipped"]
    ran = [name for name, outcome in _corpus_outcomes.items() if outcome == "passed"]
    if skipped or (len(_outcomes) > 400 and not ran):
        print(f"\nthe corpus is present, but these tests of it did not run: {skipped or 'all'}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
