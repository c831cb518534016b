"""An IMAP server on a store at a path, to be killed: `python -m tests.mail.imap.kill_server STORE [FEWEST]`; says its
port. Changes of FEWEST messages or more are promised; without it, of as many as elsewhere."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from leap.mail import promising
from leap.mail.contract import AccountBackend
from leap.mail.imap import serve_imap
from leap.mail.local import OwnedAccount
from tests.mail.devices import ALICE, KEY
from tests.mail.imap.talk import PASSWORD, USER


async def _serve(path: Path) -> None:
    account = await OwnedAccount.open_path(path, KEY, ALICE)

    async def authenticate(user: str, password: str) -> AccountBackend | None:
        return account if (user, password) == (USER, PASSWORD) else None

    server = await serve_imap(authenticate)
    print(server.address[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        promising.FEWEST = int(sys.argv[2])
    asyncio.run(_serve(Path(sys.argv[1])))
