"""Devices of one mail account on a provider in memory."""

from __future__ import annotations

from pathlib import Path

from leap.mail.contract import MailboxId, MailboxInfo
from leap.mail.local import LocalAccount, open_mail_store
from leap.soledad.material import AccountMaterial
from leap.soledad.store import Soledad
from leap.soledad.syncing import SyncEngine
from tests.mail.index_check import check_index
from tests.soledad.memory_provider import Account as SoledadAccount
from tests.soledad.memory_provider import Connection

ALICE, KEY = "alice@example.test", bytes(range(32))


class MailDevice:
    """A store with mail in it, its engine, and the account on it."""

    def __init__(self, store: Soledad, remote: Connection) -> None:
        self.use(store, remote)

    def use(self, store: Soledad, remote: Connection) -> None:
        self.store = store
        self.remote = remote
        self.engine = SyncEngine(store, remote, gather=0, fetch_blobs=False)
        self.account = LocalAccount(store, ALICE)

    async def sync(self) -> None:
        await self.engine.sync()
        await check_index(self.store)

    async def close(self) -> None:
        await self.engine.close()
        await self.account.close()
        await self.store.close()

    async def restart(self) -> None:
        """As after a crash: a new process opens the same files."""
        await self.close()
        store = await open_mail_store(self.store.path, KEY)
        self.use(store, Connection(self.remote.provider))

    async def names(self) -> dict[str, MailboxInfo]:
        return {info.name: info for info in await self.account.list_mailboxes()}

    async def shown(self) -> dict[str, list[tuple[str, tuple[str, ...], int]]]:
        """What a person sees: by mailbox name (row, flags, size), in no order of this device's own."""
        out = {}
        for info in await self.account.list_mailboxes():
            rows = await self.account.rows(info.mailbox_id)
            out[info.name] = sorted((str(row.row_id), row.flags, row.size) for row in rows)
        return out

    async def uids(self, mailbox: str) -> list[int]:
        return [row.uid for row in await self.account.rows(MailboxId(mailbox))]


class MailWorld:
    """One account, its provider, its devices."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._soledad = SoledadAccount(folder)
        self.provider = self._soledad.provider
        self.devices: list[MailDevice] = []

    async def device(self, name: str) -> MailDevice:
        keys = self._soledad.enrol(name)
        secrets = self._soledad.secrets
        store = await open_mail_store(self._folder / f"{name}.db", KEY)
        await store.save_material(
            AccountMaterial(
                account_id=secrets.account_id,
                address=secrets.address,
                root_public=secrets.root_public,
                id_key=secrets.id_key,
                epochs=secrets.epochs,
                inbox_keys=secrets.inbox_keys,
                device=keys,
                keyset=self.provider.keyset,
                api_url="https://localhost",
                token="t",
            )
        )
        device = MailDevice(store, Connection(self.provider))
        self.devices.append(device)
        return device

    async def settle(self) -> dict[str, list[tuple[str, tuple[str, ...], int]]]:
        """Syncs all until nobody has news; all must show the same, which is answered."""
        for _ in range(2):
            for device in self.devices:
                await device.sync()
        views = [await device.shown() for device in self.devices]
        assert all(view == views[0] for view in views)
        lists = [await device.account.list_mailboxes() for device in self.devices]
        assert all(one == lists[0] for one in lists)
        return views[0]

    async def close(self) -> None:
        for device in self.devices:
            await device.close()
