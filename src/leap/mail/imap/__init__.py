"""The local IMAP server."""

from leap.mail.imap.transport import ImapServer, serve_imap

__all__ = ["ImapServer", "serve_imap"]
