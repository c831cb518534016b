"""The documentation: it builds without a warning and without network, every page is in a list of pages, and every link
leads somewhere, both in the site and where markdown is shown as it lies in the tree."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_site" not in path.parts)
READ_BY_PEOPLE = [
    *PAGES,
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
]
BUILD = ["-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-b", "html"]  # as `make docs`
_FENCE = re.compile(r"^```(\{toctree\})?.*?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]+`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does."""
    folder = tmp_path_factory.mktemp("site")
    doctrees = tmp_path_factory.mktemp("doctrees")
    done = subprocess.run(
        [sys.executable, *BUILD, "-d", str(doctrees), str(DOCS), str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_site_builds_without_a_warning(site: Path) -> None:
    for page in PAGES:
        assert (site / page.relative_to(DOCS)).with_suffix(".html").is_file(), page
    for index in ("genindex", "py-modindex", "search", "searchindex"):
        assert list(site.glob(f"{index}.*")), index
    modules = (site / "py-modindex.html").read_text()
    for name in ("leap.mail", "leap.mail.message", "leap.soledad", "leap.keymanager"):
        assert f'<code class="xref">{name}</code>' in modules, name


def test_the_site_asks_nobody_on_the_network(site: Path) -> None:
    for page in site.rglob("*.html"):
        asked = re.findall(r"<(?:link|script|img|iframe)\b[^>]*https?://[^>]*>", page.read_text())
        assert not asked, page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?https?://|@import", sheet.read_text()), sheet


@pytest.mark.parametrize("package", ["leap.mail", "leap.mail.message", "leap.soledad"])
def test_the_reference_has_every_public_name(site: Path, package: str) -> None:
    reference = "".join(page.read_text() for page in (site / "reference").glob("*.html"))
    for name in importlib.import_module(package).__all__:
        assert f'id="{package}.{name}"' in reference, f"{package}.{name}"


def test_the_journey_has_a_picture_whose_text_is_text(site: Path) -> None:
    page = (site / "journey.html").read_text()
    assert "<svg" in page
    assert re.search(r"<text[^>]*>encrypt and sign</text>", page)


def test_every_page_is_in_a_list_of_pages() -> None:
    listed = {DOCS / "index.md"}
    for page in PAGES:
        for directive, body in _FENCE.findall(page.read_text()):
            if directive:
                names = [line for line in body.split("\n") if line and not line.startswith(":")]
                listed |= {page.parent / f"{name}.md" for name in names}
    assert sorted(set(PAGES) - listed) == []


@pytest.mark.parametrize("page", READ_BY_PEOPLE, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = _CODE.sub("", _FENCE.sub("", page.read_text()))
    for link in _LINK.findall(text):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{page}: {link}"
        if anchor:
            assert anchor in _anchors(path), f"{page}: {link}"


def _anchors(path: Path) -> set[str]:
    """The anchors that a code host gives the headings of a page."""
    headings = _HEADING.findall(_FENCE.sub("", path.read_text()))
    return {
        re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", one).strip().lower()).replace(" ", "-")
        for one in headings
    }
