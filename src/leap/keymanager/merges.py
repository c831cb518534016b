"""How two devices' edits of any document of the key manager become one: what the store's sync is given."""

from __future__ import annotations

from collections.abc import Mapping

from leap.keymanager import documents, own_choice
from leap.keymanager.autocrypt import peers
from leap.keymanager.binding_merge import merge_bindings, merge_contacts
from leap.keymanager.documents import BINDING, CONTACT, Merge

MERGES: Mapping[str, Merge] = {
    **documents.MERGES,
    **own_choice.MERGES,
    **peers.MERGES,
    BINDING: merge_bindings,
    CONTACT: merge_contacts,
}
