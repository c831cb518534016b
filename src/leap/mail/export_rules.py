"""What of mail's documents an export takes along, and how they come into an account, perhaps another one.

* Mailboxes, policies and other documents under plain ids: as they are.
* Keys and contacts (`openpgp-certificate`, `-binding`, `-contact`, `-secret`, `-own-choice`) and what Autocrypt knows
  (`autocrypt-peer`, `-account`): their ids are made with the account's id key, so they are made anew from what the
  documents say.
* Left out: what the directory was given (`openpgp-publication`, it is told anew), ids of consumed inbox items, and
  mail that could not be opened yet (`inbox-quarantine`): only the account it was sealed to can ever open it.
"""

from __future__ import annotations

import msgspec

from leap.keymanager.autocrypt.peers import ACCOUNT, PEER
from leap.keymanager.documents import BINDING, CERTIFICATE, CONTACT, PUBLICATION, SECRET
from leap.keymanager.own_choice import CHOICE
from leap.mail.incoming.consumed import CONSUMED
from leap.mail.incoming.quarantine import QUARANTINE
from leap.soledad.documents import decode_content
from leap.soledad.maintenance.carrying import CarryAll
from leap.soledad.maintenance.records import DocumentRecord, Opening
from leap.soledad.store import Soledad

LEFT_OUT = {PUBLICATION, CONSUMED, QUARANTINE}
_NAMED_BY = {
    BINDING: "address",
    CONTACT: "address",
    CERTIFICATE: "fingerprint",
    SECRET: "fingerprint",
    CHOICE: "address",
    PEER: "address",
    ACCOUNT: "address",
}


class MailCarrying(CarryAll):
    """`leap.soledad.maintenance.carrying.Carrying` for a store of mail."""

    def exported(self, kind: str) -> bool:
        return kind not in LEFT_OUT and super().exported(kind)

    def arriving(
        self, record: DocumentRecord, kind: str, opening: Opening, store: Soledad
    ) -> DocumentRecord | None:
        if kind in LEFT_OUT:
            return None
        field = _NAMED_BY.get(kind)
        if field is None:
            return record
        name = (decode_content(record.content) or {}).get(field)
        if not isinstance(name, str):
            return None
        # The ids of leap.keymanager.keyring and .keys
        return msgspec.structs.replace(record, doc_id=store.row_key(f"{kind}:{name}".encode()))
