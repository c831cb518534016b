"""The file that keeps a store's random key, wrapped by the person's passphrase.

Invariants:
* The key of the store is 32 random bytes; it lies on the disk only inside the seal.
* Argon2id (RFC 9106) at 64 MiB, t = 3; a file that asks for less than the floor, or for more than the
  ceiling, is refused before any of it is computed.
* Every seal has its own salt, and thereby its own key: the nonce is constant. The parameters are
  authenticated as associated data.
* The file is replaced atomically, mode 0600.
* The passphrase counts in NFC, as for log-in: two keyboards may write one letter as one code point or as two
  (RFC 8265 4.2.2).
"""

from __future__ import annotations

import asyncio
import secrets
import unicodedata
from collections.abc import Callable
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from leap.soledad.argon2 import argon2id
from leap.soledad.errors import SoledadError, WrongKey
from leap.soledad.private_file import move_private, remove_private, write_private

FORMAT = 1
TIME_COST, MEMORY_KIB, LANES = 3, 64 * 1024, 4
MIN_MEMORY_KIB, MAX_MEMORY_KIB = 32 * 1024, 1024 * 1024
MIN_TIME_COST, MAX_TIME_COST = 2, 20
MAX_LANES = 16
KEY_BYTES, SALT_BYTES = 32, 32
_NONCE = bytes(12)  # each salt makes a new key, which seals once


class _VaultFile(msgspec.Struct, forbid_unknown_fields=True):
    format: int
    salt: bytes
    time_cost: int
    memory_kib: int
    lanes: int
    sealed_key: bytes


async def create_vault(
    path: Path, passphrase: str, *, random: Callable[[int], bytes] = secrets.token_bytes
) -> bytes:
    """Makes a new store key, writes it wrapped to `path`, and answers it.

    Raises SoledadError when a vault is there already: its key may be the only one of a store.
    """
    if path.exists():
        raise SoledadError("there is a vault here already; it is not replaced")
    key = random(KEY_BYTES)
    await write_vault(path, key, passphrase, random=random)
    return key


async def write_vault(
    path: Path,
    key: bytes,
    passphrase: str,
    *,
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> None:
    """Wraps `key` anew, as for a new passphrase; the old file stays until the new one is safe."""
    await asyncio.to_thread(_write, path, key, passphrase, random)


async def open_vault(path: Path, passphrase: str) -> bytes:
    """The store key. Raises WrongKey for a wrong passphrase or a damaged file."""
    return await asyncio.to_thread(_open, path, passphrase)


async def open_either_vault(path: Path, passphrase: str) -> tuple[bytes, bool]:
    """The store key, by the vault or by the one beside it, and whether it was that one.

    There is one beside it while a change of the passphrase is under way. Raises WrongKey.
    """
    try:
        return await open_vault(path, passphrase), False
    except WrongKey:
        if not next_vault(path).exists():
            raise
        return await open_vault(next_vault(path), passphrase), True


def next_vault(path: Path) -> Path:
    """Where a change of the passphrase puts the new vault before it is known to hold."""
    return path.with_name(path.name + ".next")


async def write_next_vault(path: Path, key: bytes, passphrase: str) -> None:
    """Writes the vault of a new passphrase beside the old one; both open from then on."""
    await write_vault(next_vault(path), key, passphrase)


async def keep_next_vault(path: Path) -> None:
    """The new passphrase holds: its vault takes the place of the old one, if that did not happen before."""

    def work() -> None:
        if next_vault(path).exists():
            move_private(next_vault(path), path)

    await asyncio.to_thread(work)


async def drop_next_vault(path: Path) -> None:
    """The new passphrase does not hold."""

    def work() -> None:
        if next_vault(path).exists():
            remove_private(next_vault(path))

    await asyncio.to_thread(work)


def _normal(passphrase: str) -> bytes:
    return unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogateescape")


def _wrapping_key(passphrase: bytes, vault: _VaultFile) -> bytes:
    return argon2id(
        passphrase,
        salt=vault.salt,
        length=32,
        passes=vault.time_cost,
        lanes=vault.lanes,
        memory_kib=vault.memory_kib,
    )


def _bound(vault: _VaultFile) -> bytes:
    numbers = (vault.format, vault.time_cost, vault.memory_kib, vault.lanes)
    return b"leap.soledad vault " + " ".join(map(str, numbers)).encode() + b" " + vault.salt


def _write(path: Path, key: bytes, passphrase: str, random: Callable[[int], bytes]) -> None:
    vault = _VaultFile(
        format=FORMAT,
        salt=random(SALT_BYTES),
        time_cost=TIME_COST,
        memory_kib=MEMORY_KIB,
        lanes=LANES,
        sealed_key=b"",
    )
    wrapping_key = _wrapping_key(_normal(passphrase), vault)
    vault.sealed_key = AESGCM(wrapping_key).encrypt(_NONCE, key, _bound(vault))
    write_private(path, msgspec.json.encode(vault) + b"\n")


def _open(path: Path, passphrase: str) -> bytes:
    try:
        vault = msgspec.json.decode(path.read_bytes(), type=_VaultFile)
    except FileNotFoundError as error:
        raise WrongKey("there is no vault here: this account was not set up on this machine") from (
            error
        )
    except (msgspec.MsgspecError, ValueError) as error:
        raise WrongKey("the vault file is damaged; restore it from a copy") from error
    if vault.format != FORMAT:
        raise WrongKey("the vault was written by a newer version")
    if not (
        MIN_TIME_COST <= vault.time_cost <= MAX_TIME_COST
        and MIN_MEMORY_KIB <= vault.memory_kib <= MAX_MEMORY_KIB
        and 1 <= vault.lanes <= MAX_LANES
        and 16 <= len(vault.salt) <= 64
    ):
        raise WrongKey("the vault file is damaged; restore it from a copy")
    # As typed comes second: vaults were once made of passphrases that were not normalised.
    typed = passphrase.encode("utf-8", "surrogateescape")
    for candidate in dict.fromkeys((_normal(passphrase), typed)):
        try:
            key = AESGCM(_wrapping_key(candidate, vault)).decrypt(
                _NONCE, vault.sealed_key, _bound(vault)
            )
            break
        except InvalidTag:
            continue
    else:
        raise WrongKey("the passphrase is wrong")
    if len(key) != KEY_BYTES:
        raise WrongKey("the vault file is damaged; restore it from a copy")
    return key
