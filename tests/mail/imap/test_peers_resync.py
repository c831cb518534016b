"""neomutt with its header cache, coming back by QRESYNC and by CONDSTORE to a mailbox that others changed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leap.mail.contract import INBOX, AccountBackend, Uid
from leap.mail.imap import serve_imap
from leap.mail.imap.session.session import Session
from leap.mail.memory import MemoryAccount
from tests.conftest import needs_program
from tests.mail.imap.talk import PASSWORD, USER, fill, mail
from tests.mail.imap.test_peers import on_a_terminal


@pytest.fixture
async def account() -> AsyncIterator[MemoryAccount]:
    account = MemoryAccount()
    await fill(account, [mail(f"subject {n}") for n in range(6)])
    yield account
    await account.close()


@pytest.mark.parametrize("extension", ["qresync", "condstore"])
async def test_neomutt_comes_back_to_a_changed_mailbox(
    account: MemoryAccount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extension: str
) -> None:
    neomutt = needs_program("neomutt")
    heard: list[bytes] = []
    handle = Session.handle

    async def listening(session: Session, event: object) -> None:
        heard.append(getattr(event, "text", b""))
        await handle(session, event)  # type: ignore[arg-type]

    monkeypatch.setattr(Session, "handle", listening)

    async def authenticate(user: str, password: str) -> AccountBackend | None:
        return account if (user, password) == (USER, PASSWORD) else None

    server = await serve_imap(authenticate)
    config = tmp_path / "neomuttrc"
    config.write_text(
        f"""
set imap_user="{USER}" imap_pass="{PASSWORD}" imap_{extension}=yes
set ssl_force_tls=no ssl_starttls=no
set folder="imap://127.0.0.1:{server.address[1]}/" spoolfile="+INBOX"
set confirmappend=no confirmcreate=no wait_key=no delete=yes quit=yes move=no mail_check=0 sleep_time=0
set header_cache="{tmp_path}/cache" message_cachedir="{tmp_path}/messages" mbox_type=mbox
"""
    )

    async def copy(pattern: str, into: str) -> str:
        """What neomutt believes to be flagged, say."""
        keys = (
            f"<tag-pattern>{pattern}<enter><tag-prefix><copy-message>{tmp_path / into}<enter><quit>"
        )
        await on_a_terminal([neomutt, "-n", "-F", str(config), "-e", f'push "{keys}"'], tmp_path)
        return (tmp_path / into).read_text()

    try:
        first = await copy("~A", "first")
        assert all(f"subject {n}" in first for n in range(6))
        await account.store_flags(INBOX, [Uid(2), Uid(4)], "add", ["\\Flagged"])
        await account.store_flags(INBOX, [Uid(1), Uid(4)], "add", ["\\Deleted"])
        await account.expunge(INBOX)
        await fill(account, [mail("new")], flags=["\\Flagged"])
        heard.clear()
        assert "subject 1" in (second := await copy("~F", "second"))
        assert "new" in second
        assert second.count("Subject: ") == 2
        word = b" VANISHED)" if extension == "qresync" else b" (CHANGEDSINCE "
        assert any(word in text for text in heard), heard
        third = await copy("~A", "third")
        assert [f"subject {n}" in third for n in range(6)] == [n not in (0, 3) for n in range(6)]
    finally:
        await server.close()
