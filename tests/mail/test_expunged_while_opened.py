"""A message that is expunged while its header record is fetched leaves nothing behind: no subject, no preview."""

from __future__ import annotations

from pathlib import Path

import pytest

from leap.mail.contract import INBOX, AccountError, NewMessage, Uid
from leap.soledad.sqlite import Connection
from tests.conformance.account_backend import PLAIN
from tests.mail.devices import MailWorld
from tests.mail.index_check import check_index


async def test_nothing_of_an_expunged_message_is_kept_by_who_was_reading_it(tmp_path: Path) -> None:
    world = MailWorld(tmp_path)
    laptop, phone = await world.device("laptop"), await world.device("phone")
    [made] = await laptop.account.append(INBOX, [NewMessage(raw=PLAIN)])
    await laptop.sync()

    async def expunge() -> None:
        phone.remote.before.clear()
        await phone.account.store_flags(INBOX, [Uid(1)], "add", ["\\Deleted"])
        assert await phone.account.expunge(INBOX) == [1]

    for request in ("get_blobs", "get_blob_range"):
        phone.remote.before[request] = expunge
    await phone.engine.sync()
    with pytest.raises(AccountError):
        await phone.account.metadata([made.row_id])
    assert not phone.remote.before, "nothing was fetched"
    assert await phone.store.read(_kept) == 0
    await check_index(phone.store)
    await world.close()


def _kept(connection: Connection) -> int:
    (count,) = connection.execute("SELECT count(*) FROM mail_metadata").fetchone()
    return int(count)
