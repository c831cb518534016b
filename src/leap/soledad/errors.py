"""Every error of leap.soledad: one small tree, what is ours kept apart from what is theirs.

* ours: this machine, this store, this caller. A person can act on it.
* theirs (`ProviderLies`): bytes that came from outside are not what a device of this account wrote. Sync stops,
  nothing is lost, and a person is told.
* the network (`Unreachable`, `Refused`): nothing is proved; try again later or say what was refused.

Texts are sentences for people and never hold plaintext or secrets.
"""

from __future__ import annotations


class SoledadError(Exception):
    """Base of all errors of this package."""


# --- ours ------------------------------------------------------------------------------------------


class StoreLocked(SoledadError):
    """Another process holds this store."""


class WrongKey(SoledadError):
    """The passphrase, recovery code or key does not open this."""


class StoreFull(SoledadError):
    """The disk is full; nothing of the refused write was kept."""


class PassphraseChanged(WrongKey):
    """This device's own passphrase is right, but the account has another one now."""


class DeviceRevoked(SoledadError):
    """The account's keyset, signed by its root key, says that this device belongs to it no longer."""


class NotOpen(SoledadError):
    """The store is closed, or was never opened."""


class RevisionConflict(SoledadError):
    """The document changed since the caller read it."""


class DocumentDoesNotExist(SoledadError):
    """No document has this id."""


class DocumentAlreadyDeleted(SoledadError):
    """The document was deleted before."""


# --- theirs ----------------------------------------------------------------------------------------


class ProviderLies(SoledadError):
    """What came from the provider is not what a device of this account wrote."""


class ForgedEnvelope(ProviderLies):
    """A sealed item does not open: altered, cut, moved to another place, or not sealed at all."""


class UnknownEpoch(ForgedEnvelope):
    """A sealed item names an epoch this device has no key of; `number` says which."""

    def __init__(self, number: int) -> None:
        super().__init__(f"this is sealed under epoch {number}, which this device does not hold")
        self.number = number


class ForgedHead(ProviderLies):
    """A head record is not signed by a device of this account, or contradicts itself."""


class KeysetBehind(ForgedHead):
    """A head names a device or a keyset newer than the keyset at hand: fetch the newest keyset and open it again.

    Only when it is raised again with the newest keyset is the head forged.
    """


class RolledBack(ProviderLies):
    """The provider shows an older state than this device has seen."""


class ForkJoined(ProviderLies):
    """Two histories of this account, kept apart before, are being mixed."""


class DigestMismatch(ProviderLies):
    """The items received are not the set that the head record signs for."""


class BadKeyset(ProviderLies):
    """The account's keyset is malformed, not signed by its root key, or not a successor of the one known."""


class BlobAltered(ProviderLies):
    """A blob is not the one its reference names."""


class WeakKdf(ProviderLies):
    """The key derivation parameters are outside the permitted range."""


class UnknownSuite(ProviderLies):
    """Sealed by a format or cipher suite which this version does not know."""


class MissingSecrets(ProviderLies):
    """The account exists, but the provider gives no wrapped secrets for it.

    New ones are never made in their place.
    """


class ImpostorProvider(ProviderLies):
    """The other side of a log-in could not prove that it holds this account's verifier."""


# --- the network -----------------------------------------------------------------------------------


class Unreachable(SoledadError):
    """No usable answer came; nothing is known about what the other side did."""


class ChangeUnderWay(Unreachable):
    """A change of the account's secrets was sent, and whether it took place is not known yet."""


class BadReply(Unreachable):
    """An answer came which is not what the protocol says."""


class BadCertificate(Unreachable):
    """The provider's TLS certificate is not valid for its name under the trusted authorities."""


class Refused(SoledadError):
    """The provider understood and said no: `error` is its word for programs, `status` the HTTP status."""

    def __init__(self, error: str, message: str, status: int) -> None:
        super().__init__(message)
        self.error = error
        self.status = status


class HeadMoved(Refused):
    """Another device committed first: pull, rebase, push again."""


class KeysetMoved(Refused):
    """Another device changed the keyset first: fetch it and apply the change again."""


class AuthFailed(Refused):
    """The address, passphrase, recovery code or token is wrong, or the token was withdrawn."""
