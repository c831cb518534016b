"""The devices of an account: who they are, when each wrote last, what they are called, and letting one out.

A device has the name it was enrolled with, in the keyset. A person may call it otherwise without the passphrase: a
synced document says so, and wins. Names are for people, nothing is decided by them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from leap.soledad.account_keys import AccountKeys
from leap.soledad.enrol import ATTEMPTS
from leap.soledad.errors import HeadMoved, KeysetMoved, SoledadError
from leap.soledad.head import Head
from leap.soledad.keyset import Device
from leap.soledad.material import AccountMaterial
from leap.soledad.renewal import Revocation, Wanted
from leap.soledad.store import Soledad
from leap.soledad.syncing.state import load_state

NAME_TYPE = "device-name"
MAX_NAME = 100  # characters; a line of a list


class NoSuchDevice(SoledadError):
    """The account has no device of this name or id, or more than one."""


class ListedDevice(msgspec.Struct, frozen=True):
    """One device, for a person. Times are seconds since 1970."""

    device_id: str
    name: str
    added: int
    last_wrote: int | None  # None: it wrote nothing yet that is known here
    this: bool
    revoked: int | None


async def list_devices(store: Soledad) -> list[ListedDevice]:
    """All devices ever enrolled, in the order they were, as of the last sync."""
    material = _material_of(store)
    names = await _names(store)
    head = await _accepted_head(store)
    return [
        ListedDevice(
            device.device_id,
            names.get(device.device_id, device.name),
            device.added,
            _last_wrote(head, device),
            device.device_id == material.device.device_id,
            device.revoked_at,
        )
        for device in material.open_keyset().devices
    ]


async def find_device(store: Soledad, what: str) -> ListedDevice:
    """The device of this name or id, or of this beginning of an id; raises NoSuchDevice."""
    listed = await list_devices(store)
    wanted = what.strip()
    for among in (
        [one for one in listed if one.device_id == wanted],
        [one for one in listed if one.name == wanted and one.revoked is None],
        [one for one in listed if one.name == wanted],
        [one for one in listed if len(wanted) >= 4 and one.device_id.startswith(wanted)],
    ):
        if len(among) == 1:
            return among[0]
        if among:
            raise NoSuchDevice(f"more than one device is called {wanted!r}: say its id")
    raise NoSuchDevice(f"the account has no device {wanted!r}")


async def rename_device(store: Soledad, device_id: str, name: str) -> None:
    """Calls a device otherwise, on all devices; raises NoSuchDevice, ValueError for an unusable name."""
    name = " ".join(name.split())
    if not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise ValueError(f"a device's name has 1 to {MAX_NAME} printable characters")
    if _material_of(store).open_keyset().device(device_id) is None:
        raise NoSuchDevice(f"the account has no device {device_id!r}")
    content = {"type": NAME_TYPE, "device": device_id, "name": name}
    await store.transact(lambda tx: tx.put(_name_id(device_id), content), durable=True)


async def revoke_device(
    keys: AccountKeys,
    device_id: str,
    passphrase: str,
    new_passphrase: str | None,
    sync: Callable[[], Awaitable[Any]],
) -> str | None:
    """Lets a device out: its log-in ends, its heads count no more, and what is written from now on is not for it.

    With a new passphrase comes a new recovery code, which is answered: who had the device may have known the passphrase
    and opened by it what the provider keeps. None keeps both. `sync` brings the store to the log's newest head before,
    and tells the other devices after. Raises NoSuchDevice, and what `sync`, `AccountKeys.open` and `change` raise.
    """
    store = keys.store
    if device_id == _material_of(store).device.device_id:
        raise NoSuchDevice("this device cannot remove itself: do it on another one")
    for attempt in range(ATTEMPTS):
        await sync()
        opened = await keys.open(passphrase)
        device = opened.keyset.device(device_id)
        if device is None:
            raise NoSuchDevice(f"the account has no device {device_id!r}")
        if device.revoked_at is not None:
            raise NoSuchDevice(f"the device {device.name!r} was removed before")
        wanted = Wanted(
            opened.keys,
            epoch=True,
            recovery=new_passphrase is not None,
            revoke=_revocation(device_id, await _accepted_head(store)),
        )
        try:
            renewed = await keys.change(opened, wanted, new_passphrase)
        except (KeysetMoved, HeadMoved):
            if attempt == ATTEMPTS - 1:
                raise
            continue
        with contextlib.suppress(SoledadError):  # the next sync tells them as well
            await sync()
        return renewed.recovery_code
    raise AssertionError


def _revocation(device_id: str, head: Head | None) -> Revocation:
    if head is None:
        return Revocation(device_id, 0, b"")
    mark = head.mark_of(device_id)
    return Revocation(device_id, mark.counter if mark else 0, head.hash)


async def _accepted_head(store: Soledad) -> Head | None:
    device_id = _material_of(store).device.device_id
    return (await store.read(lambda connection: load_state(connection, device_id))).head


def _last_wrote(head: Head | None, device: Device) -> int | None:
    entry = None if head is None else head.record.devices.get(device.device_id)
    if head is None or entry is None:
        return None
    if entry.time:
        return entry.time
    return head.record.time if head.record.author == device.device_id else None


async def _names(store: Soledad) -> dict[str, str]:
    names = {}
    for document in await store.find_docs(NAME_TYPE):
        content = document.content or {}
        device_id, name = content.get("device"), content.get("name")
        if (
            isinstance(device_id, str)
            and isinstance(name, str)
            and document.doc_id == _name_id(device_id)
        ):
            names[device_id] = name
    return names


def _name_id(device_id: str) -> str:
    return f"{NAME_TYPE}-{device_id}"


def _material_of(store: Soledad) -> AccountMaterial:
    if store.material is None:
        raise SoledadError("this store belongs to no account yet")
    return store.material
