"""IMAP between octets and values, without input or output."""
