"""Messages as bytes: the MIME tree by offsets, header fields, text, IMAP's descriptions. Pure; parsing never raises."""

from leap.mail.message.defects import Defect, DefectKind
from leap.mail.message.header import Field
from leap.mail.message.metadata import message_metadata, metadata_of
from leap.mail.message.scanner import Part, scan
from leap.mail.message.searchable import Searchable, searchable
from leap.mail.message.view import Message

__all__ = [
    "Defect",
    "DefectKind",
    "Field",
    "Message",
    "Part",
    "Searchable",
    "message_metadata",
    "metadata_of",
    "scan",
    "searchable",
]
