"""What is odd about a message, as values: a kind and the octet where it stands. Nothing is refused because of one."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class DefectKind(StrEnum):
    """Every oddity that is told. The first group is found with the structure, the second by `inspection`."""

    HEADER_BEGINS_FOLDED = "header-begins-folded"  # white space before the first field
    LINE_WITHOUT_FIELD = "line-without-field"  # inside the header, with fields behind it
    NO_BODY_SEPARATOR = "no-body-separator"  # the empty line is not there
    BAD_CONTENT_TYPE = "bad-content-type"  # RFC 2045 5.2: read as text/plain
    NO_BOUNDARY = "no-boundary"  # a multipart that names none
    NO_PARTS = "no-parts"  # its boundary never occurs: read as one text part
    NO_END_OF_MULTIPART = "no-end-of-multipart"  # cut off
    ENCODED_MESSAGE = "encoded-message"  # message/rfc822 in base64 (RFC 2046 5.2.1 forbids it)
    TOO_DEEP = "too-deep"  # deeper than `scanner.MAX_DEPTH`: read as one file
    TOO_MANY_PARTS = "too-many-parts"  # more than `scanner.MAX_PARTS`: the rest is not split

    TOO_MANY_FIELDS = "too-many-fields"  # more than `header.MAX_FIELDS`: the rest is not read
    REPEATED_FIELD = "repeated-field"  # RFC 5322 3.6: at most once
    MISSING_FROM = "missing-from"
    MISSING_DATE = "missing-date"
    BAD_DATE = "bad-date"  # names no moment
    BAD_ADDRESS = "bad-address"  # an entry without local part or domain
    BAD_MESSAGE_ID = "bad-message-id"  # no <...> in it
    RAW_HEADER_OCTETS = "raw-header-octets"  # 8-bit and no UTF-8 (which RFC 6532 allows)
    BAD_ENCODED_WORD = "bad-encoded-word"  # unknown charset
    UNKNOWN_ENCODING = "unknown-encoding"  # a Content-Transfer-Encoding nobody knows
    ENCODED_MULTIPART = "encoded-multipart"  # RFC 2045 6.4 forbids it; read as if it were not
    UNKNOWN_CHARSET = "unknown-charset"
    WRONG_CHARSET = "wrong-charset"  # the text does not fit the charset named
    BAD_BASE64 = "bad-base64"  # other octets, padding in between, or cut off
    EIGHT_BIT_AS_7BIT = "8bit-as-7bit"  # declared or implied 7bit, and is not
    NUL = "nul"  # RFC 5322 allows none
    BARE_CR = "bare-cr"  # read as an ordinary octet
    LONG_LINE = "long-line"  # over 998 octets (RFC 5322 2.1.1)


class Defect(NamedTuple):
    """One oddity at an octet of the message."""

    kind: DefectKind
    offset: int
