"""Changing the passphrase, and seeing or replacing the recovery code.

A plain change keeps epoch and recovery code. When the old passphrase may be known to others, a new epoch, a new inbox
key and a new recovery code come with it: whoever kept the old wraps and opens them learns the old code and the old
epochs, and nothing of what is written from then on.
"""

from __future__ import annotations

from leap.soledad.account_keys import AccountKeys, Opened
from leap.soledad.enrol import ATTEMPTS
from leap.soledad.errors import KeysetMoved
from leap.soledad.renewal import Renewed, Wanted


async def change_passphrase(
    keys: AccountKeys, old: str, new: str, *, leaked: bool = False
) -> str | None:
    """From now on `new` opens the account, here and at the provider; answers the new recovery code if there is one.

    Raises what `AccountKeys.open` and `change` raise.
    """
    renewed = await _changed(keys, old, new, epoch=leaked, recovery=leaked)
    return renewed.recovery_code


async def show_recovery_code(keys: AccountKeys, passphrase: str) -> str | None:
    """The 24 words; None for an account made before they were kept: only a new code can be had."""
    return (await keys.open(passphrase)).secrets.recovery_code


async def replace_recovery_code(keys: AccountKeys, passphrase: str) -> str:
    """A new recovery code; the one before ends."""
    code = (await _changed(keys, passphrase, None, recovery=True)).recovery_code
    assert code is not None
    return code


async def _changed(
    keys: AccountKeys, passphrase: str, new: str | None, *, epoch: bool = False, recovery: bool
) -> Renewed:
    for attempt in range(ATTEMPTS):
        opened: Opened = await keys.open(passphrase)
        wanted = Wanted(opened.keys, epoch=epoch, recovery=recovery)
        try:
            return await keys.change(opened, wanted, new)
        except KeysetMoved:  # another device was enrolled meanwhile
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError
