"""What the key manager may raise, besides the engine's own errors; every text is a sentence for people."""

from __future__ import annotations


class KeyManagerError(Exception):
    """Base of all errors of this package outside the engine."""


class LookupFailed(KeyManagerError):
    """A place to look for a key could not answer: whether there is a key is not known. Try again later."""


class KeyRefused(KeyManagerError):
    """A key was not taken in; the text says why."""


class HoldsSecretKeys(KeyRefused):
    """A file of keys of others holds a secret key: that is one's own, and comes in another way."""


class NoOwnKey(KeyManagerError):
    """This account has no key of its own yet."""


class NoSuchKey(KeyManagerError):
    """No key is known for this address."""
