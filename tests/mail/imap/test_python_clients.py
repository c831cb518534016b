"""imaplib and imapclient, the two clients that Python programs use, through what they have calls for."""

from __future__ import annotations

import asyncio
import datetime
import imaplib

import pytest
from imapclient import IMAPClient
from imapclient.exceptions import LoginError

from leap.mail.contract import INBOX, Uid
from leap.mail.imap import ImapServer
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import PASSWORD, USER, fill, mail


async def test_imapclient_reads_changes_moves_and_deletes(
    server: ImapServer, account: MemoryAccount
) -> None:
    raw = mail("Größe".encode().decode("latin-1"), "line\r\n" * 100)
    await fill(account, [mail(f"mail {n}") for n in range(5)])

    def work() -> None:
        with IMAPClient(str(server.address[0]), int(server.address[1]), ssl=False) as client:
            with pytest.raises(LoginError):
                client.login(USER, "wrong")
            client.login(USER, PASSWORD)
            assert client.select_folder("INBOX")[b"EXISTS"] == 5
            assert client.search(["SUBJECT", "mail 3"]) == [4]
            assert client.search("UNSEEN LARGER 10") == [1, 2, 3, 4, 5]
            when = datetime.datetime(2026, 11, 2, 10, tzinfo=datetime.UTC)
            client.append("INBOX", raw, flags=[rb"\Flagged", "$Work"], msg_time=when)
            got = client.fetch([6], ["BODY[]", "FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"])[
                6
            ]
            assert got[b"BODY[]"] == raw
            assert got[b"RFC822.SIZE"] == len(raw)
            assert set(got[b"FLAGS"]) >= {b"\\Flagged", b"$Work"}
            assert got[b"INTERNALDATE"].timestamp() == when.timestamp()
            assert got[b"ENVELOPE"].from_[0].mailbox == b"alice"
            structure = client.fetch([6], ["BODYSTRUCTURE"])[6][b"BODYSTRUCTURE"]
            assert structure[0:2] == (b"TEXT", b"PLAIN")
            client.add_flags([1], [b"\\Answered"])
            client.remove_flags([6], [b"\\Flagged"])
            client.create_folder("Größe/Zwei")
            assert client.folder_exists("Größe/Zwei")
            client.copy([1], "Größe/Zwei")
            client.move([2], "Größe/Zwei")
            client.delete_messages([3])
            client.expunge()
            assert client.search() == [1, 4, 5, 6]
            assert client.folder_status("Größe/Zwei", ["MESSAGES", "UIDNEXT"])[b"MESSAGES"] == 2
            assert client.find_special_folder(b"\\Sent") == "Sent"
            client.rename_folder("Größe/Zwei", "Drei")
            client.select_folder("Drei")
            assert {
                e[b"ENVELOPE"].subject for e in client.fetch(client.search(), ["ENVELOPE"]).values()
            } == {
                b"mail 0",
                b"mail 1",
            }
            client.close_folder()
            client.delete_folder("Drei")
            client.select_folder("INBOX", readonly=True)
            client.idle()
            asyncio.run_coroutine_threadsafe(fill(account, [mail("late")]), loop).result()
            assert (5, b"EXISTS") in client.idle_check(timeout=10)
            client.idle_done()
            client.unselect_folder()

    loop = asyncio.get_running_loop()
    await asyncio.to_thread(work)
    assert [row.uid for row in await account.rows(INBOX)] == [1, 4, 5, 6, 7]
    flags = {row.uid: set(row.flags) for row in await account.rows(INBOX)}
    assert flags[Uid(1)] == {"\\Answered"}
    assert flags[Uid(6)] == {"$Work", "\\Seen"}


async def test_imapclient_finds_what_changed_since(
    server: ImapServer, account: MemoryAccount
) -> None:
    await fill(account, [mail(f"mail {n}") for n in range(4)])

    def work() -> None:
        with IMAPClient(str(server.address[0]), int(server.address[1]), ssl=False) as client:
            client.login(USER, PASSWORD)
            modseq = client.select_folder("INBOX")[b"HIGHESTMODSEQ"]
            asyncio.run_coroutine_threadsafe(
                account.store_flags(INBOX, [Uid(3)], "add", ["\\Seen"]), loop
            ).result()
            changed = client.fetch([1, 2, 3, 4], ["FLAGS"], [f"CHANGEDSINCE {modseq}"])
            assert list(changed) == [3]
            assert changed[3][b"MODSEQ"][0] > modseq

    loop = asyncio.get_running_loop()
    await asyncio.to_thread(work)


async def test_imaplib_authenticates_searches_by_literal_and_reads_what_is_left_over(
    server: ImapServer, account: MemoryAccount
) -> None:
    await fill(account, [mail("one"), mail("two")])

    def work() -> None:
        with imaplib.IMAP4(str(server.address[0]), int(server.address[1])) as client:
            client.authenticate("PLAIN", lambda _: f"\0{USER}\0{PASSWORD}".encode())
            assert client.enable("CONDSTORE") == ("OK", [b"Enabled."])
            assert client.response("ENABLED")[1] == [b"CONDSTORE"]
            assert client.select("INBOX", readonly=True) == ("OK", [b"2"])
            client.literal = b"two"  # type: ignore[attr-defined]
            assert client.uid("SEARCH", "CHARSET", "UTF-8", "SUBJECT") == ("OK", [b"2"])
            assert client.status("INBOX", "(MESSAGES UIDNEXT)")[1] == [
                b"INBOX (MESSAGES 2 UIDNEXT 3)"
            ]
            assert client.store("1", "+FLAGS", "\\Seen")[0] == "NO"

    await asyncio.to_thread(work)
