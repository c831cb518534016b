"""What bytes from an IMAP client can raise, and nothing else."""

from __future__ import annotations


class ImapSyntaxError(Exception):
    """The command is malformed; the text is for the client and holds nothing it sent."""
