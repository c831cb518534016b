"""Which of the own keys is the one in use: chosen by its owner, kept in a document, the same on every device.

    openpgp-own-choice   one per own address: the fingerprint, and the turn of the choice

Invariants:
* Nothing but a choice changes the key in use: no import, no expiry, no revocation.
* Two devices that choose at once end with the same key: the later turn, else the later time, else the greater
  fingerprint. The keys themselves are all kept (`documents.SECRET`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from leap.keymanager.documents import Content, DocumentTransaction, Merge, content_of, value_of

CHOICE: Literal["openpgp-own-choice"] = "openpgp-own-choice"


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """The key in use; `turn` counts the choices of this address, `when` is in seconds since 1970."""

    address: str
    fingerprint: str
    turn: int
    when: int
    type: Literal["openpgp-own-choice"] = CHOICE


def choose(
    tx: DocumentTransaction, document_id: str, address: str, fingerprint: str, *, at: float
) -> None:
    """Makes a key the one in use, within the transaction that keeps it."""
    content = tx.get(document_id)
    known = None if content is None else value_of(content, Choice)
    if known is not None and known.fingerprint == fingerprint:
        return
    turn = 1 if known is None else known.turn + 1
    choice = Choice(address=address, fingerprint=fingerprint, turn=turn, when=int(at))
    tx.put(document_id, content_of(choice))


def _merge(_: Content | None, local: Content | None, remote: Content | None) -> Content | None:
    if local is None or remote is None:
        return remote if local is None else local
    return max(remote, local, key=_rank)


def _rank(content: Content) -> tuple[int, int, str]:
    choice = value_of(content, Choice)
    return choice.turn, choice.when, choice.fingerprint


MERGES: Mapping[str, Merge] = {CHOICE: _merge}
