"""docs/data names every field of what is stored: documents of mailboxes and of incoming mail, rows, header records,
the tables of the outbox, and the tables that are derived."""

from __future__ import annotations

import re
import sqlite3

from leap.mail.contract import MailboxInfo
from leap.mail.incoming import consumed, quarantine
from leap.mail.model import MAIL_ROWS, HeaderRecord, PartRecord, mailbox_content
from leap.mail.outbox_contract import SendingRules
from leap.mail.outgoing.outbox_tables import create_tables
from leap.mail.outgoing.rules import SENDING_TYPE
from tests.conftest import ROOT

_TABLE = re.compile(r"CREATE (?:VIRTUAL )?TABLE IF NOT EXISTS (mail_\w+)")
PAGES = ROOT / "docs" / "data"


def named(page: str) -> set[str]:
    """What a page names in backticks."""
    return set(re.findall(r"`([^`\n]+)`", (PAGES / page).read_text()))


def test_rows() -> None:
    assert set(MAIL_ROWS.columns) <= named("rows.md")


def test_header_records() -> None:
    fields = {*HeaderRecord.__struct_fields__, *PartRecord.__struct_fields__}
    assert fields <= named("header-record.md")


def test_mailboxes() -> None:
    info = MailboxInfo(mailbox_id="x1", name="Trips", special_use="\\Junk")  # type: ignore[arg-type]
    assert {*mailbox_content(info), "deleted"} <= named("mailbox.md")


def test_documents_of_incoming_mail() -> None:
    kept: dict[str, dict[str, object]] = {}

    class Store:
        def get(self, doc_id: str) -> None:
            return None

        def put(self, doc_id: str, content: dict[str, object]) -> None:
            kept[doc_id] = content

    item = quarantine.Quarantined("row", "key", 1, "why", sealed=b"sealed")
    quarantine.keep(Store(), item, None)  # type: ignore[arg-type]
    [content] = kept.values()
    assert {*content, "blob", quarantine.QUARANTINE, consumed.CONSUMED, "time", "ids"} <= {
        *named("incoming.md"),
        quarantine.QUARANTINE,
        consumed.CONSUMED,
    }


def test_the_outbox() -> None:
    database = sqlite3.connect(":memory:")
    create_tables(database)  # type: ignore[arg-type]
    text = (PAGES / "outbox.md").read_text()
    tables = [
        name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
    ]
    assert tables
    for table in tables:
        assert f"**{table}**" in text, table
        for row in database.execute(f"PRAGMA table_info({table})"):
            assert row[1] in named("outbox.md"), f"{table}.{row[1]}"


def test_the_rules_of_sending() -> None:
    assert {*SendingRules.__struct_fields__, SENDING_TYPE} <= named("outbox.md")


def test_derived_tables() -> None:
    made: set[str] = set()
    for path in (ROOT / "src" / "leap" / "mail").rglob("*.py"):
        made |= set(_TABLE.findall(path.read_text()))
    assert made
    assert made <= named("projections.md")
