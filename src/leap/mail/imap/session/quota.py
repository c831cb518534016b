"""QUOTA (RFC 9208): one root for the whole account, bounded by nothing but the disk it lies on.

STORAGE is used: the octets of all messages; its limit is that and what is free on the disk, so that a mail program
warns when the disk is nearly full. Nobody sets limits, so there is no QUOTASET; an account without a disk has none.
"""

from __future__ import annotations

from leap.mail.contract import AccountBackend, MailboxId
from leap.mail.imap.session.replies import No, ok
from leap.mail.imap.session.state import SessionState
from leap.mail.imap.wire.listing import StatusItem
from leap.mail.imap.wire.quota import GetQuota, GetQuotaRoot
from leap.mail.imap.wire.responses import mailbox

DELETED_ITEMS = frozenset({"DELETED", "DELETED-STORAGE"})  # of STATUS
_UNIT = 1024  # octets, RFC 9208 5.1


async def get_quota(session: SessionState, command: GetQuota) -> bytes:
    account = session.signed_in()
    if command.root:
        raise No("There is no such quota root.", b"NONEXISTENT")
    session.untagged(await _quota(account))
    return ok("That is the quota.")


async def get_quota_root(session: SessionState, command: GetQuotaRoot) -> bytes:
    info = await session.find_mailbox(command.mailbox)
    session.untagged(b"QUOTAROOT " + mailbox(info.name, session.utf8) + b' ""')
    session.untagged(await _quota(session.signed_in()))
    return ok("That is the quota.")


async def _quota(account: AccountBackend) -> bytes:
    space = await account.space()
    if space.free is None:
        return b'QUOTA "" ()'
    used = -(-space.used // _UNIT)
    return b'QUOTA "" (STORAGE %d %d)' % (used, used + space.free // _UNIT)


async def deleted_values(account: AccountBackend, mailbox_id: MailboxId) -> dict[StatusItem, bytes]:
    """What EXPUNGE would take away: messages, and their octets (RFC 9208 4.1.4). Reads the whole list."""
    rows = await account.rows(mailbox_id)
    sizes = [row.size for row in rows if "\\Deleted" in row.flags]
    return {"DELETED": b"%d" % len(sizes), "DELETED-STORAGE": b"%d" % sum(sizes)}
