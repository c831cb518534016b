"""Makes a golden store: a device's folder and its provider's, as the present program writes them, and what they hold.

`tools/make_golden.py` writes tests/golden/VERSION. A released version's folder is never made again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from leap.keymanager.autocrypt.header import header_value
from leap.keymanager.keys import KeyManager
from leap.keymanager.mail_material import KeyMaterial
from leap.keymanager.merges import MERGES
from leap.keymanager.openpgp import decrypt, encrypt, generate
from leap.keymanager.trust import Level
from leap.mail.contract import INBOX, MailboxId, NewMessage
from leap.mail.local import LocalAccount, open_mail_store
from leap.soledad.documents import Version
from leap.soledad.enrol import sign_up
from leap.soledad.maintenance import compact, verify
from leap.soledad.remote import ProviderClient
from leap.soledad.secrets import floor_kdf_params
from leap.soledad.store import Soledad
from leap.soledad.syncing import SyncEngine
from leap.soledad.vault import create_vault
from tests.provider.world import opened, served

FOLDER = Path(__file__).parent
BOB, CAROL = "bob@example.test", "carol@elsewhere.test"
AT = 1_790_000_000.0  # what the clock says whenever keys are looked at
LETTER = b"The heron is gone.\n"
ADDRESS, PASSPHRASE = "alice@example.test", "the heron stands still"
RAWS = (
    b"Subject: one\r\nFrom: bob@example.test\r\n\r\nThe heron stands still.\r\n",
    b"Subject: =?utf-8?q?zw=C3=B6lf?=\r\n\r\nodd \xff octets\nand line ends\r",
    b"Subject: three\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\npart\r\n--b--\r\n",
    b"Subject: large\r\n\r\n" + b"The heron stands still in the water. \r\n" * 5_000,
)


async def make(folder: Path) -> None:
    """Writes `folder` anew: device/, provider/ and expected.json."""
    with tempfile.TemporaryDirectory() as made:
        await _make(Path(made))
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name in ("device", "provider"):
            shutil.copytree(Path(made) / name, folder / name)
            for left in folder.glob(f"{name}/*"):
                if (left.suffix in (".lock", "") and left.is_file()) or left.name.endswith(
                    ("-wal", "-shm")
                ):
                    left.unlink()
        shutil.copy(Path(made) / "expected.json", folder)


async def _make(made: Path) -> None:
    device = made / "device"
    device.mkdir()
    async with opened(made / "provider") as provider, served(provider, made) as running:
        async with ProviderClient(running.url, ca_file=running.ca_file) as client:
            enrolled = await sign_up(client, ADDRESS, PASSPHRASE, "laptop", kdf=floor_kdf_params)
            key = await create_vault(device / "vault.json", PASSPHRASE)
            store = await open_mail_store(device / "store.db", key)
            await store.save_material(enrolled.material.with_token(client.token))
            account = LocalAccount(store, ADDRESS)
            engine = SyncEngine(store, client, gather=0)
            await _fill(store, account)
            await _fill_keys(store, client)
            await engine.sync()
            await _fill_later(store, account)
            expected = await contents(store, account)
            expected["letter"] = await _letter(store)
            expected["recovery_code"] = enrolled.recovery_code
            await account.close()
            await engine.close()
            await _one_blob_as_file(store)
            await compact(store)
            assert (await verify(store)).clean
            await store.close()
        await provider.tidy()
    (made / "expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n")


async def _fill(store: Soledad, account: LocalAccount) -> None:
    work = await account.create_mailbox("Work/Äpfel")
    await account.rename_mailbox(MailboxId("archive"), "Old things")
    for number, raw in enumerate(RAWS):
        where = INBOX if number % 2 == 0 else work.mailbox_id
        flags = ("\\Seen", "$Label")[: number % 3]
        await account.append(
            where, [NewMessage(raw=raw, flags=flags, internal_date=1_000 + number)]
        )
    await store.create_doc({"type": "note", "text": "plain"}, "plain")
    await store.create_doc({"text": "mine"}, "conflicted")
    document = await store.create_doc({"n": 1}, "deleted")
    await store.delete_doc(document)

    def conflict(tx: Any) -> None:
        tx.edit(
            tx.load("conflicted"),
            "conflicted",
            '{"text":"mine"}',
            [Version("9:other", '{"text":"theirs"}')],
        )

    await store.transact(conflict)


async def _fill_later(store: Soledad, account: LocalAccount) -> None:
    """Edits that wait to be synced."""
    [first, _] = await account.rows(INBOX)
    await account.store_flags(INBOX, [first.uid], "add", ["\\Flagged"])
    await account.append(INBOX, [NewMessage(raw=RAWS[0] + b"again\r\n", internal_date=2_000)])
    document = await store.get_doc("plain")
    assert document is not None
    assert document.content is not None
    document.content["text"] = "edited, not synced"
    await store.put_doc(document)


async def _fill_keys(store: Soledad, client: ProviderClient) -> None:
    """A document of each type of docs/formats/keys.md."""
    keys = KeyManager(store, ADDRESS, client, now=lambda: AT)
    bob, carol = (generate(name, now=lambda: AT - 100) for name in (BOB, CAROL))
    await keys.own.ensure(name="Alice")
    assert await keys.publishing.publish()
    await keys.learn(bob.certificate, BOB, "attached to a mail", mail="<1@example.test>")
    await keys.verifying.verify(BOB, bob.fingerprint)
    await keys.contacts.set_policy(BOB, "require")
    offered = generate(BOB, now=lambda: AT - 50).certificate
    level = Level.PROVIDER_TRUST
    await keys.learn(offered, BOB, "the directory gave it", level=level, source="directory")
    field = header_value(CAROL, carol.certificate.binary, "mutual")
    assert field is not None
    mail = KeyMaterial(CAROL, date=int(AT), received=int(AT), autocrypt=(field.encode(),))
    lesson = await keys.learn_from_mail([mail])
    assert lesson is not None
    await store.transact(lesson.keep)
    await lesson.finish()
    assert await keys.find_certificate(CAROL) is not None
    await keys.autocrypt.set_prefer_encrypt("nopreference")
    keys.close()
    types = {kind for kind in MERGES if await store.find_docs(kind)}
    assert types == set(MERGES), "every type of document is in it"


async def _letter(store: Soledad) -> str:
    """A mail which only the account's own key opens."""
    keys = KeyManager(store, ADDRESS, now=lambda: AT)
    sealed = encrypt(LETTER, [await keys.own.certificate()], now=lambda: AT)
    keys.close()
    return sealed.decode("ascii")


async def known_keys(store: Soledad) -> dict[str, Any]:
    """What the account knows of keys, as JSON has it."""
    keys = KeyManager(store, ADDRESS, now=lambda: AT)
    listed = [
        [key.address, key.fingerprint, key.level, key.policy, key.alert and key.alert.fingerprint]
        for key in await keys.list_keys()
    ]
    peer = await keys.autocrypt.peer(CAROL)
    found = {
        "listed": listed,
        "revocations": [bool(kept.revocation) for kept in await keys.own.kept()],
        "published": (await keys.publishing.state()).published,
        "peer": None if peer is None else [peer.prefer_encrypt, peer.autocrypt_timestamp],
        "prefers": await keys.autocrypt.prefer_encrypt(),
    }
    keys.close()
    return found


async def open_letter(store: Soledad, letter: str) -> bytes:
    """What is in the mail that was sealed when the store was made."""
    keys = KeyManager(store, ADDRESS, now=lambda: AT)
    opened = decrypt(letter.encode("ascii"), await keys.own_keys())
    keys.close()
    return opened.plaintext


async def _one_blob_as_file(store: Soledad) -> None:
    """A blob as a file beside the store, which else only large ones are."""

    def job(connection: Any) -> None:
        blob_id, sealed = connection.execute(
            "SELECT blob_id, sealed FROM blob ORDER BY length(sealed) DESC LIMIT 1"
        ).fetchone()
        folder = store.path.with_name(store.path.name + "-blobs") / blob_id[:2]
        folder.mkdir(parents=True)
        (folder / blob_id).write_bytes(sealed)
        connection.execute("UPDATE blob SET sealed = NULL WHERE blob_id = ?", (blob_id,))

    await store.write(job)


async def contents(store: Soledad, account: LocalAccount) -> dict[str, Any]:
    """All that a person or a program could read, as JSON has it."""
    mailboxes: dict[str, Any] = {}
    for info in await account.list_mailboxes():
        shown = []
        for row in await account.rows(info.mailbox_id):
            raw = await account.read(row.row_id)
            shown.append([hashlib.sha256(raw).hexdigest(), sorted(row.flags), row.internal_date])
        mailboxes[info.name] = sorted(shown)
    documents: dict[str, Any] = {}
    for doc_id in ("plain", "conflicted", "deleted"):
        document = await store.get_doc(doc_id, include_deleted=True)
        versions = await store.get_doc_conflicts(doc_id)
        documents[doc_id] = [
            document.content if document else None,
            [version.content for version in versions],
        ]
    return {"mailboxes": mailboxes, "documents": documents, "keys": await known_keys(store)}
