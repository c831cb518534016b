"""What the OpenPGP engine may raise: nothing but these, whatever bytes it is given.

Invariant: no message of these errors holds plaintext, key material or a passphrase.
"""

from __future__ import annotations


class OpenPGPError(Exception):
    """Base of everything the engine raises; the text is one sentence for people."""


class Malformed(OpenPGPError):
    """The bytes are not what RFC 9580 allows."""


class Unsupported(OpenPGPError):
    """Well formed, but of a kind this engine does not read or write; the text names it."""


class TooLarge(OpenPGPError):
    """The content, once unpacked, is over the limit; the text names the limit."""


class NotEncrypted(OpenPGPError):
    """The bytes are OpenPGP, but no encrypted message."""


class NoSecretKey(OpenPGPError):
    """The message is encrypted, and not to any of the keys given."""


class IntegrityError(OpenPGPError):
    """The message was changed on its way, or is of a kind that could be changed unseen; nothing of it is given out."""


class WrongPassphrase(OpenPGPError):
    """The secret key or message is locked, and the passphrase given (or its absence) does not open it."""


class ExpiredCertificate(OpenPGPError):
    """The certificate, or the part of it that is needed, has expired."""


class NoEncryptionKey(OpenPGPError):
    """The certificate has no key one could encrypt to: none, revoked, or too weak."""


class NoSigningKey(OpenPGPError):
    """The secret key has no part that may sign."""
