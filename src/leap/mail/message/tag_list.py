"""Tag lists: `tag=value; tag=value`, in which DKIM signatures, DKIM keys and DMARC policies are written. Pure.

    tag-list  = tag-spec *( ";" tag-spec ) [ ";" ]                       ; RFC 6376 3.2
    tag-spec  = [FWS] tag-name [FWS] "=" [FWS] tag-value [FWS]
    tag-name  = ALPHA *(ALPHA / DIGIT / "_")
    tag-value = printable US-ASCII without ";", with white space inside

Invariant: nothing here raises; what is not of this form, or names a tag twice, is no list.
"""

from __future__ import annotations

import re

MAX_TAGS = 64  # the standards know about fifteen
_SPEC = re.compile(r"[ \t\r\n]*([A-Za-z][A-Za-z0-9_]*)[ \t\r\n]*=([\t\r\n -:<-~]*)")


def tag_list(text: str) -> dict[str, str] | None:
    """The values by tag, in order, white space around them taken off; None when it is no tag list."""
    specs = text.split(";", MAX_TAGS + 1)
    if not specs[-1].strip(" \t\r\n"):
        specs.pop()
    if not specs or len(specs) > MAX_TAGS:
        return None
    tags: dict[str, str] = {}
    for spec in specs:
        found = _SPEC.fullmatch(spec)
        if found is None or found[1] in tags:  # RFC 6376 3.2: a tag twice makes the list invalid
            return None
        tags[found[1]] = found[2].strip(" \t\r\n")
    return tags
