"""The names of all header fields that sending and receiving add, take away or keep for themselves.

docs/formats/header-fields.md explains each. Everything else of a message comes back byte for byte.
"""

from __future__ import annotations

ADDED_ON_SUBMISSION = ("Message-ID", "Date")  # only when the message had none (RFC 6409 8.2, 8.3)
# And X-Leap-*, which is reserved. A draft's state must not travel (Autocrypt 1.1, "Storing Draft State").
DROPPED_ON_SUBMISSION = ("Bcc", "Resent-Bcc", "Autocrypt-Draft-State")
ADDED_ON_SENDING = ("Autocrypt",)  # in front of mail that leaves in clear and has none

ENCRYPTION_FIELD = "X-Leap-Encryption"
SIGNATURE_FIELD = "X-Leap-Signature"
HTML_FIELD = "X-Leap-Html"  # what was encrypted has HTML
DIFFERS_FIELD = "X-Leap-Differs"  # protected fields that said something else outside
PART_FIELD = "X-Leap-Part"  # what is known of one part
ADDED_ON_ARRIVAL = (ENCRYPTION_FIELD, SIGNATURE_FIELD, HTML_FIELD, DIFFERS_FIELD, PART_FIELD)

PAYLOAD_FIELD = "X-Leap-Payload"  # inside the encrypted payload only: how to undo header protection
# Said by the mail program for one message: require, never or split; yes or no.
POLICY_FIELD = "X-Leap-Encrypt"
SIGN_FIELD = "X-Leap-Sign"
SENT_FIELD = "X-Leap-Sent"  # in front of the copy in Sent, for each recipient: how it went, and what became of it

# A field put before a message whose first line is a continuation line, which would otherwise
# become part of whatever field is put before it.
GUARD = b"Comments: (the message begins with a continuation line)\r\n"

# What the transport adds on the way: kept from the outer header, never protected.
TRACE_FIELDS = frozenset(
    {
        "return-path",
        "received",
        "delivered-to",
        "x-original-to",
        "received-spf",
        "authentication-results",
        "arc-seal",
        "arc-message-signature",
        "arc-authentication-results",
    }
)

# What a mail program shows or acts upon: an outer field of these names means nothing once the sender
# protected the header (RFC 9788 4.2), so one that is not protected is not served.
USER_FACING_FIELDS = frozenset(
    {
        "from",
        "sender",
        "to",
        "cc",
        "bcc",
        "subject",
        "date",
        "message-id",
        "in-reply-to",
        "references",
        "reply-to",
        "followup-to",
        "mail-followup-to",
        "mail-reply-to",
        "comments",
        "keywords",
        "disposition-notification-to",
        "return-receipt-to",
    }
)

OUR_FIELDS = (
    *ADDED_ON_ARRIVAL,
    *ADDED_ON_SUBMISSION,
    *ADDED_ON_SENDING,
    "Comments",
)
