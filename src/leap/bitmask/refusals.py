"""What a person is told when something with an account is refused: one sentence, and one word for programs."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from leap.bitmask.local_api import CommandRefused
from leap.bitmask.sentences import sentence
from leap.soledad.devices import NoSuchDevice
from leap.soledad.errors import (
    AuthFailed,
    BadCertificate,
    ChangeUnderWay,
    DeviceRevoked,
    PassphraseChanged,
    ProviderLies,
    Refused,
    SoledadError,
    StoreFull,
    Unreachable,
    WrongKey,
)
from leap.soledad.syncing.loop import SyncStopped

MIN_PASSPHRASE = 8  # characters


@contextlib.asynccontextmanager
async def refusals() -> AsyncIterator[None]:
    """Errors of the store and of the provider, as one sentence and one word each."""
    try:
        yield
    except PassphraseChanged as error:
        raise CommandRefused(
            "passphrase-changed",
            "The passphrase of this account was changed on another device;"
            " run `bitmask user auth` with the new one first.",
        ) from error
    except (AuthFailed, WrongKey) as error:
        raise CommandRefused(
            "wrong-passphrase", "The passphrase or the address is wrong."
        ) from error
    except ChangeUnderWay as error:
        raise CommandRefused(
            "under-way",
            "The provider did not answer whether the change took place. bitmask finds out by itself; until then"
            " the old passphrase and the new one unlock this device.",
        ) from error
    except SyncStopped as error:
        raise CommandRefused(
            "alarm", f"Sync stopped: {error}; `bitmask sync resume` tries again."
        ) from error
    except DeviceRevoked as error:
        raise CommandRefused("device-revoked", sentence(error)) from error
    except NoSuchDevice as error:
        raise CommandRefused("no-device", sentence(error)) from error
    except BadCertificate as error:
        raise CommandRefused("bad-certificate", sentence(error)) from error
    except Unreachable as error:
        raise CommandRefused("unreachable", sentence(error)) from error
    except Refused as error:
        raise CommandRefused(error.error, sentence(error)) from error
    except StoreFull as error:
        raise CommandRefused("storage-full", sentence(error)) from error
    except ProviderLies as error:
        raise CommandRefused("provider", sentence(error.sentence)) from error
    except SoledadError as error:
        raise CommandRefused("provider", sentence(error)) from error
    except OSError as error:
        raise CommandRefused("home", f"{error.strerror}: {error.filename}") from error


def check_new_passphrase(passphrase: str, before: str | None = None) -> None:
    """Raises CommandRefused for a passphrase that is too short to choose, or is the one of before."""
    if passphrase == before:
        raise CommandRefused("same", "That is the passphrase of before; choose another one.")
    if len(passphrase) < MIN_PASSPHRASE:
        raise CommandRefused(
            "weak", f"Choose a passphrase of at least {MIN_PASSPHRASE} characters."
        )


def wrong_here(address: str) -> str:
    """What somebody is told whose passphrase does not open the account on this device."""
    return (
        f"That passphrase does not open {address} on this device. If it was changed on another one, unlock with the old"
        " one here first, then run `bitmask user auth` once more with the new one."
    )
