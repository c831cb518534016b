"""Which contents a device keeps: all of them, or those which were read; and how much of them stays.

A setting of the store, not of the account: a telephone and a desktop machine differ in it.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from leap.soledad.sqlite import Connection
from leap.soledad.transaction import find_setting, save_setting

CONTENTS = "soledad.contents"


class ContentsPolicy(msgspec.Struct, frozen=True):
    """`contents`: "all" are fetched in the background, newest first; "on-demand" ones when they are read.

    `keep_bytes`: how many octets of content (as plaintext) stay here; what is over it goes, contents before
    headers and the least recently read first, if it is safely at the provider. None keeps everything.
    `always`: the blobs of so many columns of each row schema, from the first, are fetched in any case and never go
    (of mail, 1: the header records).
    """

    contents: Literal["all", "on-demand"] = "all"
    keep_bytes: Annotated[int, msgspec.Meta(ge=0)] | None = None
    always: Annotated[int, msgspec.Meta(ge=0, le=16)] = 0


def load_policy(connection: Connection) -> ContentsPolicy:
    """What was decided for this store; at first: keep everything."""
    found = find_setting(connection, CONTENTS)
    return ContentsPolicy() if found is None else msgspec.msgpack.decode(found, type=ContentsPolicy)


def save_policy(connection: Connection, policy: ContentsPolicy) -> None:
    """Keeps the decision; with a budget it also makes the index that adds up what is here."""
    save_setting(connection, CONTENTS, msgspec.msgpack.encode(policy))
    if policy.keep_bytes is not None:
        connection.execute("CREATE INDEX IF NOT EXISTS blob_size ON blob (size)")
    else:
        connection.execute("DROP INDEX IF EXISTS blob_size")
