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


class ConflictedDocument(RevisionConflict):
    """The document has conflicts; resolve them with `resolve_doc` first."""


class InvalidContent(SoledadError, ValueError):
    """The content is not a dict of what JSON can hold."""


class DocumentTooLarge(SoledadError):
    """The content is larger than what one document may hold; it belongs into a blob."""


class InvalidDocId(SoledadError):
    """This cannot be the id of a document."""


class InvalidGeneration(SoledadError):
    """The store never was at this generation: begin at 0 again."""


class IndexDefinitionParseError(SoledadError):
    """An index cannot be defined like this."""


class IndexNameTaken(SoledadError):
    """There is another index of this name."""


class IndexDoesNotExist(SoledadError):
    """There is no index of this name."""


class InvalidValueForIndex(SoledadError):
    """The values do not fit the index: too many, too few, or not texts."""


class InvalidGlobbing(SoledadError):
    """A "*" stands where none may stand."""


class DocumentDoesNotExist(SoledadError):
    """No document has this id."""


class DocumentAlreadyDeleted(SoledadError):
    """The document was deleted before."""


# --- theirs ----------------------------------------------------------------------------------------


class ProviderLies(SoledadError):
    """What came from the provider is not what a device of this account wrote; `advice` says what to do."""

    advice = (
        "Nothing was lost or changed here. Compare with your other devices and ask who runs the provider;"
        " then let sync go on"
    )

    @property
    def sentence(self) -> str:
        """What happened and what to do, for a person."""
        return f"{self}. {self.advice}"


class ForgedEnvelope(ProviderLies):
    """A sealed item does not open: altered, cut, moved to another place, or not sealed at all."""


class NotSealed(ForgedEnvelope):
    """Something lies in clear where only what a device of this account sealed may lie."""


class CompressionBomb(ForgedEnvelope):
    """A sealed item unpacks to more than any device of this account writes."""


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


class ForkShown(ForkJoined, RolledBack):
    """A history in which other devices went on without what this device has seen or committed."""

    advice = (
        "Nothing was lost or changed here, but your devices were shown different things: look at each of them,"
        " found the log anew from the one that is most complete, or let sync go on if the provider mends it"
    )


class DigestMismatch(ProviderLies):
    """The items received are not the set that the head record signs for."""


class BadKeyset(ProviderLies):
    """The account's keyset is malformed, not signed by its root key, or not a successor of the one known."""


class BlobAltered(ProviderLies):
    """A blob is not the one its reference names."""

    advice = "It is asked for again, and a device of yours that holds it sends it anew"


class BlobMissing(BlobAltered):
    """The provider has no blob of an id which the log names."""


class WeakKdf(ProviderLies):
    """The key derivation parameters are outside the permitted range: too weak, if not `CostlyKdf`."""

    advice = (
        "The passphrase was not used; do not log in at this provider before its owner has explained"
    )


class CostlyKdf(WeakKdf):
    """The key derivation parameters ask for more time or memory than this machine should give."""


class UnknownSuite(ProviderLies):
    """Sealed by a format or cipher suite which this version does not know."""

    advice = (
        "Nothing was lost or changed here. If a newer version of the program runs on another device, install it"
        " here too; if none does, the provider made this up"
    )


class MissingSecrets(ProviderLies):
    """The account exists, but the provider gives no wrapped secrets for it.

    New ones are never made in their place.
    """

    advice = (
        "Nothing was made in their place; a device that is set up already still has everything, so do not sign"
        " up again, and ask who runs the provider to restore them"
    )


class ImpostorProvider(ProviderLies):
    """The other side of a log-in could not prove that it holds this account's verifier."""

    advice = "The passphrase was not told to it; check the provider's address before you try again"


# --- the network -----------------------------------------------------------------------------------


class Unreachable(SoledadError):
    """No usable answer came; nothing is known about what the other side did."""


class TooSlow(Unreachable):
    """An answer did not come in time, or came too slowly."""


class ChangeUnderWay(Unreachable):
    """A change of the account's secrets was sent, and whether it took place is not known yet."""


class BadReply(Unreachable):
    """An answer came which is not what the protocol says."""


class BadPage(BadReply):
    """A page of the log is out of order, leads nowhere, or is not what was asked for."""


class TooMuch(BadReply):
    """An answer is larger than what was asked for can be."""


class Redirected(BadReply):
    """The provider sends requests to another place, which is never followed."""


class StrangeEncoding(BadReply):
    """An answer is compressed, which nobody asked for."""


class BeingFounded(Unreachable):
    """Another device is founding the log anew, and has not brought all of it yet: look again later."""


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
