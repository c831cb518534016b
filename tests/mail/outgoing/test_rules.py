"""The rules of sending are one document of the account; one that cannot be read forbids rather than allows."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from leap.mail.outbox_contract import SendingRules
from leap.mail.outgoing.rules import Rules, rules_of
from tests.mail.travel import FakeProvider, Person, open_person


async def test_rules_outlive_the_process(provider: FakeProvider, tmp_path: Path) -> None:
    first = await open_person(provider, tmp_path / "a", "alice")
    await first.outgoing.set_sending_rules(SendingRules(encrypt="require", mixed="split"))
    await first.close()
    second = await open_person(provider, tmp_path / "a", "alice")
    rules = await second.outgoing.sending_rules()
    assert (rules.encrypt, rules.mixed) == ("require", "split")
    await second.close()


async def test_fields_of_a_newer_version_are_kept(alice: Person) -> None:
    await alice.store.transact(
        lambda tx: tx.put("mail-sending", {"type": "mail-sending", "sign": True, "newer": 1})
    )
    rules = Rules(alice.store)
    assert await rules.load() == SendingRules(sign=True)
    await rules.save(SendingRules())
    document = await alice.store.get_doc("mail-sending")
    assert document is not None
    assert document.content is not None
    assert document.content["newer"] == 1


def test_a_word_of_a_newer_version_counts_as_the_strictest() -> None:
    assert rules_of({"encrypt": "quantum"}).encrypt == "require"
    assert rules_of({"mixed": "guess"}) == SendingRules(encrypt="require")


@given(
    st.dictionaries(
        st.sampled_from([*SendingRules.__struct_fields__, "other"]),
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=9)),
    )
)
def test_any_document_gives_rules_and_none_weaker_than_what_it_says(
    content: dict[str, object],
) -> None:
    rules = rules_of(content)
    if content.get("encrypt", "prefer") not in ("prefer", "never"):
        assert rules.encrypt == "require"


async def test_rules_that_another_device_set_hold_with_the_next_mail(alice: Person) -> None:
    assert (await alice.outgoing.sending_rules()).encrypt == "prefer"
    await alice.store.transact(
        lambda tx: tx.put("mail-sending", {"type": "mail-sending", "encrypt": "require"})
    )  # as sync does
    assert (await alice.outgoing.sending_rules()).encrypt == "require"
