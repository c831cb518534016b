"""docs/formats/keys.md names every document of the key manager, every field of it, level, source and local setting."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from leap.bitmask import key_sources
from leap.keymanager import documents, merges, own_choice, refresh
from leap.keymanager.autocrypt import peers
from leap.keymanager.discovery import answers, key_urls
from leap.keymanager.explanation import SOURCES
from leap.keymanager.trust import Level

TEXT = (Path(__file__).parents[2] / "docs" / "formats" / "keys.md").read_text()
DOCUMENTS: dict[str, tuple[type[msgspec.Struct], ...]] = {
    documents.CERTIFICATE: (documents.CertificateDocument,),
    documents.BINDING: (
        documents.Binding,
        documents.Evidence,
        documents.Change,
        documents.Alert,
    ),
    documents.CONTACT: (documents.Contact, documents.Block),
    documents.SECRET: (documents.SecretDocument,),
    documents.PUBLICATION: (documents.Publication,),
    own_choice.CHOICE: (own_choice.Choice,),
    peers.PEER: (peers.Peer,),
    peers.ACCOUNT: (peers.AccountPreference,),
}


def test_every_document_that_syncs_is_described() -> None:
    assert set(DOCUMENTS) == set(merges.MERGES)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_field_of_a_document_is_described(name: str) -> None:
    section = re.split(r"(?m)^\*\*", TEXT.partition(f"\n**{name}**")[2])[0]
    assert f"| `{name}` |" in TEXT
    fields = {field for kind in DOCUMENTS[name] for field in kind.__struct_fields__} - {"type"}
    assert {field for field in fields if f"`{field}`" not in section} == set()


def test_words_in_documents_are_described() -> None:
    words = {level.word for level in Level} | (set(SOURCES) - {"ring"})  # which learns nothing
    settings = {key_sources.SETTING, answers.SETTING, refresh.SETTING, key_urls.SETTING}
    assert {word for word in words | settings if f"`{word}`" not in TEXT} == set()
