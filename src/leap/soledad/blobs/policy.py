"""Which contents a device keeps: all of them, or those which were read; and how much of them stays.

A setting of the store, not of the account: a telephone and a desktop machine differ in it.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from leap.soledad.sqlite import Connection

CONTENTS = "soledad.contents"


class ContentsPolicy(msgspec.Struct, frozen=True):
    """`contents`: "all" are fetched in the background, newest first, as far as `keep_bytes` goes; "on-demand" ones when
    they are read.

    `keep_bytes`: how many octets of content (as plaintext) stay here; what is over it goes, contents before
    headers and the least recently read first, if it is safely at the provider. None keeps everything.
    `always`: the blobs of so many columns of each row schema, from the first, are fetched in any case and never go
    (of mail, 1: the header records).
    """

    contents: Literal["all", "on-demand"] = "all"
    keep_bytes: Annotated[int, msgspec.Meta(ge=0)] | None = None
    always: Annotated[int, msgspec.Meta(ge=0, le=16)] = 0


def decode_policy(setting: bytes | None) -> ContentsPolicy:
    """What was decided for a store; at first: keep everything."""
    return (
        ContentsPolicy()
        if setting is None
        else msgspec.msgpack.decode(setting, type=ContentsPolicy)
    )


def count_by_index(connection: Connection, policy: ContentsPolicy) -> None:
    """Makes the index that adds up what is here, or removes it where there is no budget."""
    if policy.keep_bytes is not None:
        connection.execute("CREATE INDEX IF NOT EXISTS blob_size ON blob (size)")
    else:
        connection.execute("DROP INDEX IF EXISTS blob_size")
