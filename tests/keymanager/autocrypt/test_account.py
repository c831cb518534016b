"""An account's Autocrypt: learning from mail with and without a crash, finding keys, advising, and its own header."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from leap.bitmask.key_words import key_lines
from leap.keymanager.autocrypt import account
from leap.keymanager.autocrypt.account import Autocrypt
from leap.keymanager.autocrypt.header import header_value, parse_header
from leap.keymanager.autocrypt.peers import PEER, Peer
from leap.keymanager.autocrypt.recommendation import STALE
from leap.keymanager.autocrypt.update import KEPT_WITHIN
from leap.keymanager.comparison import grouped
from leap.keymanager.discovery.mail_keys import MailKeys
from leap.keymanager.discovery.ring import RingSource
from leap.keymanager.documents import content_of, decisive, pack
from leap.keymanager.errors import LookupFailed
from leap.keymanager.finding import ASK_AGAIN
from leap.keymanager.keys import KeyManager
from leap.keymanager.mail_material import (
    DKIM_PASS,
    SIGNATURE_GOOD,
    SIGNED_BY_ATTACHED,
    KeyMaterial,
)
from leap.keymanager.merges import MERGES
from leap.keymanager.openpgp import Certificate, SecretKey, extend, generate
from leap.keymanager.openpgp.packets import Tag
from leap.keymanager.trust import Level
from leap.soledad.store import Soledad
from tests.keymanager.conftest import ALICE, BIRTH, BOB, DAY, FakeDirectory, Time

CAROL = "carol@elsewhere.test"
SENT = BIRTH + DAY // 2


@pytest.fixture(scope="module")
def carol() -> SecretKey:
    return generate(CAROL, now=lambda: BIRTH)


def field(address: str, key: SecretKey | Certificate, prefer: str = "nopreference") -> bytes:
    certificate = key.certificate if isinstance(key, SecretKey) else key
    value = header_value(address, certificate.binary, prefer)  # type: ignore[arg-type]
    assert value is not None
    return value.encode()


def mail(sender: str, *fields: bytes, at: int = SENT, **more: Any) -> KeyMaterial:
    values = {"date": at, "received": at, "message_id": f"<{at}@mail>", "autocrypt": fields}
    return KeyMaterial(sender, **{**values, **more})


def gossip(sender: str, about: Sequence[tuple[str, SecretKey]], *, at: int = SENT) -> KeyMaterial:
    return mail(
        sender,
        at=at,
        gossip=tuple(field(address, key) for address, key in about),
        recipients=(ALICE, *(address for address, _ in about)),
    )


async def learn(keys: KeyManager, *materials: KeyMaterial) -> bool:
    """As the pipeline does; whether there was something to keep or finish."""
    lesson = await keys.learn_from_mail(materials)
    if lesson is None:
        return False
    await keys.keyring._store.transact(lesson.keep)
    await lesson.finish()
    return True


async def documents(store: Soledad) -> list[dict[str, Any]]:
    return [d.content for d in await store.find_docs(PEER) if d.content is not None]


async def test_a_header_is_remembered_and_found_by_the_search(
    keys: KeyManager, bob: SecretKey
) -> None:
    assert await keys.autocrypt.peer(BOB) is None
    assert await learn(keys, mail(BOB, field(BOB, bob, "mutual")))
    peer = await keys.autocrypt.peer("Bob@Example.TEST")
    assert peer is not None
    assert (peer.autocrypt_timestamp, peer.prefer_encrypt) == (SENT, "mutual")
    assert await keys.keyring.find(BOB) is None  # a key becomes somebody's when it is looked for
    found = await keys.find_certificate(BOB)
    assert found is not None
    assert found.certificate.fingerprint == bob.fingerprint
    assert found.level is Level.WEAK_CHAIN
    bound = await keys.keyring.find(BOB)
    assert bound is not None
    (evidence,) = bound.binding.evidence
    assert (evidence.source, evidence.mail) == ("autocrypt", f"<{SENT}@mail>")


async def test_a_mail_dated_years_ahead_does_not_keep_later_headers_out(
    keys: KeyManager, clock: Time, bob: SecretKey
) -> None:
    forged = generate(BOB, now=lambda: BIRTH)
    await learn(keys, mail(BOB, field(BOB, forged), at=SENT + 70 * 365 * DAY))
    clock.at += DAY
    await learn(keys, mail(BOB, field(BOB, bob), at=int(clock())))
    found = await keys.find_certificate(BOB)
    assert found is not None
    assert found.certificate.fingerprint == bob.fingerprint


async def test_what_the_directory_has_goes_before_a_header(
    keys: KeyManager, directory: FakeDirectory, bob: SecretKey
) -> None:
    other = generate(BOB, now=lambda: BIRTH)
    directory.keys[BOB] = bob.certificate.binary
    await learn(keys, mail(BOB, field(BOB, other)))
    found = await keys.find_certificate(BOB)
    assert found is not None
    assert found.certificate.fingerprint == bob.fingerprint
    assert found.level is Level.PROVIDER_TRUST


async def test_what_the_directory_says_stays_the_reason_when_mail_brings_the_same(
    keys: KeyManager, directory: FakeDirectory, clock: Time, bob: SecretKey
) -> None:
    directory.keys[BOB] = bob.certificate.binary
    await keys.find_certificate(BOB)
    clock.at += DAY
    await learn(keys, mail(BOB, field(BOB, bob)))
    [info] = [key for key in await keys.list_keys() if key.address == BOB]
    assert [one.source for one in info.evidence] == ["directory", "autocrypt"]
    why = decisive(info.evidence, info.level)
    assert why is not None
    assert (why.source, why.level) == ("directory", "provider-trust")
    found = await RingSource(keys.keyring).find(BOB)
    assert found is not None
    assert "the key directory of example.test gave it" in found.evidence


async def test_another_key_in_their_mail_is_told_to_the_person(
    keys: KeyManager, directory: FakeDirectory, bob: SecretKey
) -> None:
    directory.keys[BOB] = bob.certificate.binary
    other = generate(BOB, now=lambda: BIRTH)
    await keys.find_certificate(BOB)
    await learn(keys, gossip(CAROL, [(BOB, other)]))
    [info] = await keys.show(BOB)
    lines = key_lines(info, theirs=await keys.autocrypt.find_key(BOB))
    said = f"{CAROL} has another key for this address: {grouped(other.fingerprint)}"
    assert f"{said}, by a mail of 9 October 2025." in lines
    await learn(keys, mail(BOB, field(BOB, other)))
    lines = key_lines(info, theirs=await keys.autocrypt.find_key(BOB))
    said = f"Mail from this address names another key: {grouped(other.fingerprint)}"
    assert f"{said}, since 9 October 2025." in lines
    await learn(keys, mail(BOB, field(BOB, bob), at=SENT + 1))
    lines = key_lines(info, theirs=await keys.autocrypt.find_key(BOB))
    assert not any("another key" in line for line in lines)


async def test_a_header_is_not_enough_while_the_directory_does_not_answer(
    keys: KeyManager, directory: FakeDirectory, bob: SecretKey
) -> None:
    await learn(keys, mail(BOB, field(BOB, bob)))
    directory.down = True
    with pytest.raises(LookupFailed):
        await keys.find_certificate(BOB)


async def test_a_weak_key_is_not_written_again_with_each_mail_to_it(
    keys: KeyManager, store: Soledad, bob: SecretKey
) -> None:
    await learn(keys, mail(BOB, field(BOB, bob)))
    await keys.find_certificate(BOB)
    written = 0

    def count(changes: Any) -> None:
        nonlocal written
        written += len(changes.docs)

    stop = store.on_change(count)
    for _ in range(3):
        assert await keys.find_certificate(BOB) is not None
    stop()
    assert written == 0


async def test_a_key_that_does_not_name_the_address_is_no_answer(
    keys: KeyManager, eve: SecretKey
) -> None:
    await learn(keys, mail(BOB, field(BOB, eve)))
    assert await keys.autocrypt.peer(BOB) is not None
    assert await keys.find_certificate(BOB) is None


async def test_asking_the_directory_again_is_not_ended_by_a_header(
    keys: KeyManager, directory: FakeDirectory, clock: Time, bob: SecretKey
) -> None:
    directory.keys[BOB] = bob.certificate.binary
    await learn(keys, mail(BOB, field(BOB, bob)))
    await keys.find_certificate(BOB)
    asked = len(directory.asked)
    clock.at += ASK_AGAIN
    await keys.find_certificate(BOB)
    assert len(directory.asked) == asked + 1


async def test_a_later_end_of_the_key_an_address_has_arrives_by_mail(
    keys: KeyManager, clock: Time, bob: SecretKey
) -> None:
    await keys.keyring.learn(bob.certificate, BOB, Level.FINGERPRINT, source="person")
    clock.at += DAY
    longer = extend(bob, expires=clock.at + 900 * DAY, now=clock.at)
    assert await learn(
        keys, mail(BOB, field(BOB, longer.certificate.minimal(BOB)), at=int(clock.at))
    )
    bound = await keys.keyring.find(BOB)
    assert bound is not None
    assert bound.level is Level.FINGERPRINT
    assert bound.certificate.expires == longer.certificate.expires != bob.certificate.expires
    assert bound.binding.evidence[-1].source == "autocrypt"


@pytest.mark.parametrize("vouched", ["", SIGNATURE_GOOD, DKIM_PASS])
async def test_another_key_by_mail_replaces_nothing(
    keys: KeyManager, bob: SecretKey, vouched: str
) -> None:
    await keys.keyring.learn(bob.certificate, BOB, Level.PROVIDER_TRUST, source="directory")
    other = generate(BOB, now=lambda: BIRTH)
    await learn(keys, mail(BOB, field(BOB, other), authentication=vouched))
    peer = await keys.autocrypt.peer(BOB)
    assert peer is not None
    assert peer.public_key == pack(other.certificate.binary)
    found = await keys.find_certificate(BOB)
    assert found is not None
    assert found.certificate.fingerprint == bob.fingerprint


async def test_gossip_is_found_last_and_never_in_place_of_their_own_header(
    keys: KeyManager, carol: SecretKey
) -> None:
    other = generate(CAROL, now=lambda: BIRTH)
    assert await learn(keys, gossip(BOB, [(CAROL, other), (ALICE, other)]))
    assert await keys.autocrypt.peer(ALICE) is None  # nobody tells us our own key
    assert await keys.autocrypt.peer(BOB) is None
    key = await keys.autocrypt.find_key(CAROL)
    assert key is not None
    assert key.gossiped
    advised = await keys.autocrypt.recommend([CAROL])
    assert (advised.advice, advised.target_keys[CAROL]) == ("discourage", other.certificate)
    await learn(keys, mail(CAROL, field(CAROL, carol)))
    key = await keys.autocrypt.find_key(CAROL)
    assert key is not None
    assert (key.gossiped, key.certificate.fingerprint) == (False, carol.fingerprint)


async def test_gossip_tells_who_said_it(keys: KeyManager, carol: SecretKey) -> None:
    await learn(keys, gossip(BOB, [(CAROL, carol)])._replace(authentication=SIGNATURE_GOOD))
    found = await keys.find_certificate(CAROL)
    assert found is not None
    assert BOB in found.evidence
    bound = await keys.keyring.find(CAROL)
    assert bound is not None
    assert bound.binding.evidence[-1].authentication == SIGNATURE_GOOD


async def test_a_key_that_came_with_the_mail_vouches_for_no_other_key_in_it(
    keys: KeyManager, bob: SecretKey, carol: SecretKey
) -> None:
    one = gossip(BOB, [(CAROL, carol)])._replace(protected_autocrypt=(field(BOB, bob),))
    await learn(keys, one._replace(authentication=SIGNED_BY_ATTACHED))
    known = {address: await keys.autocrypt.peer(address) for address in (BOB, CAROL)}
    assert [peer and peer.authentication for peer in known.values()] == ["", ""]
    assert (carol_state := known[CAROL]) is not None
    assert carol_state.gossip_authentication == ""


@pytest.mark.parametrize(
    "change",
    [
        {"is_report": True},
        {"is_spam": True},
        {"from_address": ALICE},
        {"autocrypt": (b"addr=bob@example.test; keydata=" + b"xjMA",)},  # no certificate
    ],
)
async def test_what_must_be_ignored_teaches_nothing(
    keys: KeyManager, bob: SecretKey, carol: SecretKey, change: dict[str, Any]
) -> None:
    assert not await learn(keys, mail(BOB, field(BOB, bob))._replace(**change))
    if change.keys() & {"is_report", "is_spam"}:
        assert not await learn(keys, gossip(BOB, [(CAROL, carol)])._replace(**change))


async def test_a_field_inside_the_encryption_goes_before_one_outside(
    keys: KeyManager, bob: SecretKey
) -> None:
    forged = generate(BOB, now=lambda: BIRTH)
    one = mail(BOB, field(BOB, forged), authentication=SIGNATURE_GOOD)
    await learn(keys, one._replace(protected_autocrypt=(field(BOB, bob),)))
    peer = await keys.autocrypt.peer(BOB)
    assert peer is not None
    assert (peer.public_key, peer.authentication) == (pack(bob.certificate.binary), SIGNATURE_GOOD)
    await learn(keys, one._replace(date=SENT + 1, received=SENT + 1))
    peer = await keys.autocrypt.peer(BOB)
    assert peer is not None
    assert (peer.public_key, peer.authentication) == (pack(forged.certificate.binary), "")


async def test_the_same_header_again_and_again_reads_no_key_and_writes_once_a_day(
    keys: KeyManager, store: Soledad, bob: SecretKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    await learn(keys, mail(BOB, field(BOB, bob)))
    read: list[bytes] = []
    whole = Certificate.from_bytes
    monkeypatch.setattr(Certificate, "from_bytes", lambda data: read.append(data) or whole(data))
    for minute in range(1, 1000):
        assert not await learn(keys, mail(BOB, field(BOB, bob), at=SENT + 60 * minute))
    assert read == []
    peer = await keys.autocrypt.peer(BOB)
    assert peer is not None
    assert peer.last_seen == SENT + 60 * 999
    assert [d["last_seen"] for d in await documents(store)] == [SENT]
    assert await learn(keys, mail(BOB, field(BOB, bob), at=SENT + KEPT_WITHIN))
    assert [d["last_seen"] for d in await documents(store)] == [SENT + KEPT_WITHIN]


async def test_mail_without_a_key_of_somebody_unknown_leaves_no_trace(
    keys: KeyManager, store: Soledad
) -> None:
    assert not await learn(keys, *[mail(f"p{n}@x.test") for n in range(100)])
    assert await documents(store) == []


async def test_a_flood_of_strangers_leaves_so_many_peers_and_the_latest_of_them(
    keys: KeyManager, store: Soledad, bob: SecretKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account, "MAX_PEERS", 10)
    monkeypatch.setattr(account, "DROPPED_AT_ONCE", 2)
    await learn(keys, mail(BOB, field(BOB, bob)))
    for number in range(30):
        stranger = f"s{number}@elsewhere.test"
        await learn(keys, mail(stranger, field(stranger, bob), at=SENT + number))
        await learn(keys, mail(BOB, field(BOB, bob), at=SENT + number))
        assert len(await documents(store)) <= 10
        assert await keys.autocrypt.peer(stranger) is not None
    assert await keys.autocrypt.peer(BOB) is not None
    assert await keys.autocrypt.peer("s0@elsewhere.test") is None


async def test_a_lesson_that_was_not_kept_is_learnt_again(
    keys: KeyManager, store: Soledad, clock: Time, bob: SecretKey
) -> None:
    one = mail(BOB, field(BOB, bob))
    assert await keys.learn_from_mail([one]) is not None  # and then the machine stops
    fresh = KeyManager(store, ALICE, now=clock)
    assert await fresh.autocrypt.peer(BOB) is None
    assert await learn(fresh, one)
    assert not await learn(fresh, one)
    assert len(await documents(store)) == 1
    assert await learn(keys, one) is False  # it came to the first by the store


async def test_what_another_device_wrote_is_joined_not_overwritten(
    keys: KeyManager, store: Soledad, bob: SecretKey
) -> None:
    lesson = await keys.learn_from_mail([mail(BOB, field(BOB, bob))])
    assert lesson is not None
    elsewhere = Peer(address=BOB, last_seen=SENT + DAY, gossip_timestamp=5, gossip_key="a2V5")
    doc_id = store.row_key(f"{PEER}:{BOB}".encode())
    await store.transact(lambda tx: tx.put(doc_id, content_of(elsewhere)))
    await store.transact(lesson.keep)
    peer = await keys.autocrypt.peer(BOB)
    assert peer is not None
    assert (peer.last_seen, peer.autocrypt_timestamp) == (SENT + DAY, SENT)
    assert (peer.public_key, peer.gossip_key) == (pack(bob.certificate.binary), "a2V5")


async def test_a_newer_programs_document_is_left_alone(
    keys: KeyManager, store: Soledad, bob: SecretKey
) -> None:
    doc_id = store.row_key(f"{PEER}:{BOB}".encode())
    strange = {"type": PEER, "address": BOB, "last_seen": "soon"}
    await store.transact(lambda tx: tx.put(doc_id, strange))
    await learn(keys, mail(BOB, field(BOB, bob)))
    assert await documents(store) == [strange]


async def test_two_devices_end_with_the_same(tmp_path: Path, bob: SecretKey) -> None:
    merge = MERGES[PEER]
    contents = []
    for number, material in enumerate([mail(BOB, field(BOB, bob)), gossip(CAROL, [(BOB, bob)])]):
        store = await Soledad.open(tmp_path / f"{number}.db", bytes(32), merges=MERGES)
        await learn(KeyManager(store, ALICE, now=lambda: SENT), material)
        contents += await documents(store)
        await store.close()
    one, other = contents
    assert merge(None, one, other) == merge(None, other, one)


# --- advice -----------------------------------------------------------------------------------


async def test_the_recommendation_follows_mail_and_the_keys_end(
    keys: KeyManager, clock: Time, bob: SecretKey, carol: SecretKey
) -> None:
    async def advice(*addresses: str, reply: bool = False) -> str:
        return (await keys.autocrypt.recommend(addresses, reply)).advice

    assert await advice(BOB) == "disable"
    await learn(keys, mail(BOB, field(BOB, bob)))
    assert await advice(BOB) == "available"
    assert await advice(BOB, reply=True) == "encrypt"
    assert await advice(BOB, CAROL, reply=True) == "disable"
    await learn(keys, mail(BOB, field(BOB, bob, "mutual"), at=SENT + 1))
    assert await advice(BOB) == "encrypt"
    await keys.autocrypt.set_prefer_encrypt("nopreference")
    assert await advice(BOB) == "available"
    await keys.autocrypt.set_prefer_encrypt("mutual")
    await learn(keys, mail(CAROL, field(CAROL, carol)))
    advised = await keys.autocrypt.recommend([BOB, CAROL])
    assert advised.advice == "available"
    assert advised.each == {BOB: "encrypt", CAROL: "available"}
    assert advised.target_keys == {BOB: bob.certificate, CAROL: carol.certificate}
    clock.at += STALE
    await learn(keys, mail(BOB, at=SENT + 2 + STALE))
    assert await advice(BOB) == "discourage"
    clock.at += 3 * 365 * DAY
    assert await advice(BOB) == "disable"
    assert await keys.autocrypt.find_key(BOB) is None


# --- the account's own header -----------------------------------------------------------------


async def test_the_own_header_is_minimal_and_of_the_from_address(
    keys: KeyManager, alice: SecretKey
) -> None:
    assert await keys.autocrypt_header(ALICE) is None  # there is no key yet
    await keys.own.add(alice)
    for address in (ALICE, "alice+lists@example.test"):
        value = await keys.autocrypt_header(address)
        assert value is not None
        header = parse_header(value.encode())
        assert header is not None
        assert (header.address, header.prefer_encrypt) == (address, "mutual")
        sent = Certificate.from_bytes(header.keydata)
        assert [c.tag for c in sent.components] == [Tag.PUBLIC_KEY, Tag.USER_ID, Tag.PUBLIC_SUBKEY]
        assert [len(c.signatures) for c in sent.components] == [0, 1, 1]
        assert sent.addresses == (ALICE,)
    await keys.autocrypt.set_prefer_encrypt("nopreference")
    value = await keys.autocrypt_header(ALICE)
    assert value is not None
    assert "prefer-encrypt" not in value


async def test_a_key_that_has_ended_is_not_announced(
    keys: KeyManager, alice: SecretKey, clock: Time
) -> None:
    await keys.own.add(alice)
    assert await keys.autocrypt_header(ALICE) is not None
    clock.at += 3 * 365 * DAY
    again = Autocrypt(keys.keyring._store, ALICE, now=clock)
    assert await again.own_header(ALICE, alice.certificate) is None


# --- keys attached to mail --------------------------------------------------------------------


async def test_attached_keys_are_handed_on_when_something_vouches_for_the_mail(
    keys: KeyManager, store: Soledad, bob: SecretKey
) -> None:
    one = mail(BOB, attached=(b"junk", bob.certificate.armored()))
    assert await learn(keys, one._replace(authentication=SIGNATURE_GOOD))
    assert await keys.keyring.find(BOB) is None  # nobody is there to judge them
    keys.mail_keys = MailKeys(keys.keyring, store, None, own_address=ALICE, now=lambda: SENT)
    assert not await learn(keys, one)
    assert not await learn(keys, one._replace(authentication=DKIM_PASS, is_spam=True))
    assert await learn(keys, one._replace(authentication=SIGNATURE_GOOD))
    bound = await keys.keyring.find(BOB)
    assert bound is not None
    assert bound.binding.fingerprint == bob.fingerprint
    (evidence,) = bound.binding.evidence
    assert (evidence.source, evidence.mail, evidence.authentication) == (
        "mail",
        f"<{SENT}@mail>",
        SIGNATURE_GOOD,
    )


async def test_what_is_forgotten_is_told_anew(
    keys: KeyManager, store: Soledad, bob: SecretKey
) -> None:
    await keys.autocrypt.forget(BOB)
    await learn(keys, mail(BOB, field(BOB, bob)))
    await keys.autocrypt.forget(BOB)
    assert await keys.autocrypt.peer(BOB) is None
    assert await documents(store) == []
    assert await learn(keys, mail(BOB, field(BOB, bob)))
    assert await keys.autocrypt.peer(BOB) is not None
