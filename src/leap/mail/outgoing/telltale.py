"""Header fields in which mail programs tell of themselves, of the machine and of the person: they do not travel.

They are dropped on submission, from what is encrypted too: the recipient needs them as little as anybody on the way.
What the person says by a field (priority, a wish for a receipt, keywords, list fields) stays, and so do Date, with its
time zone, and Message-ID: docs/formats/header-fields.md says why.

Invariant: a mail which the mail program signed or encrypted keeps them, for it passes untouched.
"""

from __future__ import annotations

_NAMES = frozenset(
    {
        # which program, which version, which system
        "user-agent",
        "x-mailer",
        "mail-user-agent",
        "x-mail-user-agent",
        "x-newsreader",
        "x-mimeole",
        "x-mailer-version",
        "x-client",
        "x-user-agent",
        "x-mua",
        # which machine, which network
        "received",
        "x-originating-ip",
        "x-originating-client",
        "x-originating-email",
        "x-originating-host",
        "x-sender-ip",
        "x-sender-host",
        "x-client-ip",
        "x-source",
        "x-source-args",
        "x-source-dir",
        "x-php-script",
        "x-php-originating-script",
        "x-authenticated-sender",
        "x-authenticated-user",
        "x-x-sender",
        "x-sender",
        # what a program keeps for itself: folders, accounts, identities, drafts
        "fcc",
        "x-fcc",
        "x-identity-key",
        "x-account-key",
        "x-uidl",
        "x-imapbase",
        "x-uniform-type-identifier",
        "x-universally-unique-identifier",
        "x-has-attach",
        "thread-index",  # holds the time at which the conversation began (MS-OXOMSG 2.2.1.3)
        "msip_labels",
    }
)
# Whole families: Thunderbird's and Enigmail's state, Outlook's and Exchange's.
_PREFIXES = (
    *("x-mozilla-", "x-enigmail-", "x-ms-", "x-exchange-", "x-kmail-", "x-evolution-"),
    *("x-claws-", "x-sylpheed-", "x-k9mail-", "x-balsa-", "x-geary-", "x-apple-"),
)


def is_telltale(name: str) -> bool:
    """Whether a field of this (lower-case) name does not travel."""
    return name in _NAMES or name.startswith(_PREFIXES)
