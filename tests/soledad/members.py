"""Devices of accounts at a provider behind real HTTPS: each with its client, vault, store, engine and account keys."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from leap.soledad import account_keys
from leap.soledad import secrets as secrets_module
from leap.soledad import vault as vault_module
from leap.soledad.account_keys import AccountKeys
from leap.soledad.enrol import Enrolled, enrol_device, sign_up
from leap.soledad.errors import Unreachable, WrongKey
from leap.soledad.remote import ProviderClient
from leap.soledad.secrets import floor_kdf_params
from leap.soledad.store import Soledad
from leap.soledad.syncing import SyncEngine
from leap.soledad.vault import create_vault, next_vault, open_either_vault
from tests.provider.world import DOMAIN, Served

ALICE = f"alice@{DOMAIN}"
OLD, NEW, THIRD = "the quick brown fox", "jumps over the dog", "and runs away from it"


def quick_stretching(monkeypatch: Any) -> None:
    """Next to no stretching of passphrases, below the floor: these tests derive hundreds of keys."""
    monkeypatch.setattr(vault_module, "MIN_MEMORY_KIB", 256)
    monkeypatch.setattr(vault_module, "MEMORY_KIB", 256)
    monkeypatch.setattr(secrets_module, "FLOOR_MEMORY_KIB", 256)


class Line(ProviderClient):
    """A client some of whose requests or replies are lost: `lose["put_keyset"] = ["reply", "request"]`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.lose: dict[str, list[str]] = defaultdict(list)
        self.sent: list[Any] = []
        self.given: list[Any] = []

    async def _do(self, name: str, call: Any) -> Any:
        fate = self.lose[name].pop(0) if self.lose[name] else ""
        if fate == "request":
            raise Unreachable("the request was lost")
        result = await call()
        if fate == "reply":
            raise Unreachable("the reply was lost")
        return result

    async def put_keyset(self, put: Any) -> None:
        self.sent.append(put)
        await self._do("put_keyset", lambda: ProviderClient.put_keyset(self, put))

    async def secrets(self) -> Any:
        reply = await self._do("secrets", lambda: ProviderClient.secrets(self))
        self.given.append(reply)
        return reply


class Member:
    """One device. `restart` is what a new process does with the same files."""

    def __init__(self, https: Served, folder: Path, name: str) -> None:
        self.https = https
        self.name = name
        self.vault = folder / name / "vault.json"
        self.vault.parent.mkdir(mode=0o700)
        self.client = Line(https.url, ca_file=https.ca_file)

    @classmethod
    async def signing_up(
        cls, https: Served, folder: Path, name: str = "laptop", address: str = ALICE
    ) -> "Member":
        member = cls(https, folder, name)
        await member._begin(
            await sign_up(member.client, address, OLD, name, kdf=floor_kdf_params), OLD
        )
        return member

    @classmethod
    async def enrolling(
        cls, https: Served, folder: Path, name: str, passphrase: str = OLD
    ) -> "Member":
        member = cls(https, folder, name)
        await member._begin(await enrol_device(member.client, ALICE, passphrase, name), passphrase)
        return member

    @classmethod
    async def of(
        cls, https: Served, folder: Path, name: str, client: Line, enrolled: Enrolled, phrase: str
    ) -> "Member":
        member = cls(https, folder, name)
        await member.client.close()
        member.client = client
        await member._begin(enrolled, phrase)
        return member

    async def _begin(self, enrolled: Enrolled, passphrase: str) -> None:
        self.code = enrolled.recovery_code
        key = await create_vault(self.vault, passphrase)
        self._use(await Soledad.open(self.vault.with_name("store.db"), key))
        await self.store.save_material(enrolled.material)
        self._engage()

    def _use(self, store: Soledad) -> None:
        self.store = store

    def _engage(self) -> None:
        self.engine = SyncEngine(self.store, self.client, gather=0)
        self.keys = AccountKeys(
            self.store, self.client, self.engine, self.vault, kdf=floor_kdf_params
        )

    @property
    def material(self) -> Any:
        return self.store.material

    @property
    def device_id(self) -> str:
        return self.material.device.device_id

    async def sync(self) -> Any:
        return await self.engine.sync()

    async def put(self, doc_id: str, **content: Any) -> None:
        await self.store.transact(lambda tx: tx.put(doc_id, content))

    async def content(self, doc_id: str) -> Any:
        return await self.store.transact(lambda tx: tx.get(doc_id))

    async def opens_with(self, *passphrases: str) -> list[str]:
        """Which of them open this device."""
        found = []
        for passphrase in passphrases:
            try:
                await open_either_vault(self.vault, passphrase)
            except WrongKey:
                continue
            found.append(passphrase)
        return found

    async def restart(self, passphrase: str) -> bool:
        """Everything of the process is gone; the files are opened again. Whether it was by the vault beside."""
        token, ca = self.material.token, self.https.ca_file
        await self.close()
        key, beside = await open_either_vault(self.vault, passphrase)
        self.client = Line(self.https.url, ca_file=ca, token=token)
        self._use(await Soledad.open(self.vault.with_name("store.db"), key))
        self._engage()
        return beside

    async def provider_takes(self, *passphrases: str) -> list[str]:
        """Which of them log in at the provider."""
        return [one for one in passphrases if await self.keys.is_passphrase(one)]

    async def settled_on(self, *passphrases: str) -> str:
        """The one passphrase of these that opens device and provider; nothing of a change is left over."""
        here = await self.opens_with(*passphrases)
        assert here == await self.provider_takes(*passphrases)
        assert await self.keys.pending() is None
        assert not next_vault(self.vault).exists()
        (one,) = here
        return one

    async def close(self) -> None:
        await self.engine.close()
        await self.store.close()
        await self.client.close()


class Crash(BaseException):
    """The process ends here."""


STEPS = (
    "open_vault",
    "fetch_secrets",
    "write_next_vault",
    "keep_next_vault",
    "AccountKeys._save",
    "Line.put_keyset",
    "SyncEngine.adopt_keyset",
)


class Tripwire:
    """Lets the process end before or after the n-th of the steps."""

    def __init__(self, monkeypatch: Any, steps: Sequence[str] = STEPS) -> None:
        self.passed: list[str] = []
        self.at = -1
        for name in steps:
            owner, _, method = name.rpartition(".")
            where = {
                "AccountKeys": account_keys.AccountKeys,
                "Line": Line,
                "SyncEngine": SyncEngine,
            }.get(owner, account_keys)
            monkeypatch.setattr(where, method, self._tripping(name, getattr(where, method)))

    def set(self, at: int) -> None:
        """The process ends at the `at`-th step from now."""
        self.passed, self.at = [], at

    def _tripping(self, name: str, call: Any) -> Any:
        async def tripping(*arguments: Any, **options: Any) -> Any:
            self._step(f"before {name}")
            result = await call(*arguments, **options)
            self._step(f"after {name}")
            return result

        return tripping

    def _step(self, name: str) -> None:
        self.passed.append(name)
        if len(self.passed) == self.at:
            self.at = -1
            raise Crash(name)
