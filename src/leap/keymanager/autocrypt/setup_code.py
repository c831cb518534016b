"""The code that opens a Setup Message: nine blocks of four digits (Autocrypt 1.1, "Setup Code").

setup-code = block 8("-" block)     block = 4DIGIT     ; 36 digits hold 119 bits; the dashes are part of the passphrase
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Callable

FORMAT = "numeric9x4"  # what `Passphrase-Format` calls it
BLOCKS, DIGITS = 9, 4

_CODE = re.compile(r"[0-9]{4}(?:-[0-9]{4}){8}")
_BETWEEN = re.compile(r"[\s\-\u2010-\u2015]+")  # what people and programs write between the blocks


def new_setup_code(*, below: Callable[[int], int] = secrets.randbelow) -> str:
    """A new code; `below` gives a random number of [0, n)."""
    return "-".join(f"{below(10**DIGITS):0{DIGITS}}" for _ in range(BLOCKS))


def is_setup_code(text: str) -> bool:
    return _CODE.fullmatch(text) is not None


def normal_setup_code(text: str) -> str:
    """What a person typed as the passphrase it means: 36 digits with or without dashes, spaces and line ends.

    Anything else is a passphrase of another form, and stays as it is but for white space around it.
    """
    digits = _BETWEEN.sub("", text)
    if len(digits) != BLOCKS * DIGITS or not digits.isdecimal():
        return text.strip()
    digits = "".join(str(unicodedata.decimal(digit)) for digit in digits)  # of whatever script
    return "-".join(digits[at : at + DIGITS] for at in range(0, len(digits), DIGITS))
