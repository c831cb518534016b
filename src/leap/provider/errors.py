"""Why the provider refuses a request: a stable word for programs, a status and a sentence for people.

Invariants:
* Nothing else leaves the provider as an error: what is not one of these becomes `internal` (500).
* A refusal never tells whether an address has an account, except at sign-up.
"""

from __future__ import annotations


class Refusal(Exception):
    """A request which is not carried out; `error` and `status` are the same for all of a class."""

    error = "bad-request"
    status = 400

    def __init__(self, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after


class BadRequest(Refusal):
    """The body or a parameter is not what the protocol says."""


class BadLogin(Refusal):
    """Unknown address, wrong passphrase, stale log-in session: one answer for all of them."""

    error, status = "bad-login", 401

    def __init__(self) -> None:
        super().__init__("the address or the passphrase is wrong")


class Unauthorized(Refusal):
    """No token, or one that is not live."""

    error, status = "unauthorized", 401

    def __init__(self) -> None:
        super().__init__("this device is not logged in")


class SignupClosed(Refusal):
    """The operator does not take new accounts."""

    error, status = "signup-closed", 403


class DeviceRevoked(Refusal):
    """The passphrase is right, but the keyset says that this device is no longer of the account."""

    error, status = "device-revoked", 403

    def __init__(self) -> None:
        super().__init__("this device was removed from the account; set it up again as a new one")


class NotFound(Refusal):
    error, status = "not-found", 404


class HeadMoved(Refusal):
    """Another device committed first: pull, rebase, commit again."""

    error, status = "head-moved", 409


class KeysetMoved(Refusal):
    error, status = "keyset-moved", 409


class StageDiffers(Refusal):
    """An index of this push is staged with other bytes, or staged items are missing at commit."""

    error, status = "stage-differs", 409


class BlobDiffers(Refusal):
    error, status = "blob-differs", 409


class AddressTaken(Refusal):
    error, status = "address-taken", 409


class TooLarge(Refusal):
    error, status = "too-large", 413


class BadDigest(Refusal):
    """An upload is not what was announced: its octets were garbled on the way, or on a disk."""

    error, status = "bad-digest", 400


class BadRange(Refusal):
    """The range of a blob lies outside it (RFC 9110 15.5.17)."""

    error, status = "bad-range", 416


class SlowDown(Refusal):
    """Too many attempts; `retry_after` says after how many seconds to come again."""

    error, status = "slow-down", 429


class Internal(Refusal):
    error, status = "internal", 500

    def __init__(self) -> None:
        super().__init__("the provider failed at this request; it may work later")


class StorageFull(Refusal):
    error, status = "storage-full", 507

    def __init__(self) -> None:
        super().__init__("the provider's disk is full; nothing was stored")
