"""The update algorithms as tables, the merge of two devices, and what is worth a document."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.keymanager.autocrypt.gossip import MAX_GOSSIP, read_gossip
from leap.keymanager.autocrypt.header import Header, PreferEncrypt, header_value
from leap.keymanager.autocrypt.peers import ACCOUNT, MERGES, PEER, Peer, join
from leap.keymanager.autocrypt.update import (
    KEPT_WITHIN,
    Gossiped,
    Seen,
    effective_date,
    is_worth_keeping,
    update,
    update_from_gossip,
)
from leap.keymanager.documents import content_of, pack

ALICE, BOB, EVE = "alice@a.test", "bob@b.test", "eve@evil.test"
K1, K2 = b"\xc6one", b"\xc6two"


def field(key: bytes = K1, prefer: PreferEncrypt = "nopreference") -> Header:
    return Header(ALICE, prefer, key)


def seen(date: int, key: bytes | None = None, prefer: PreferEncrypt = "nopreference") -> Seen:
    return Seen(date, None if key is None else field(key, prefer), f"<{date}@a>")


# each: what came before, the mail, (last_seen, autocrypt_timestamp, key, preference) afterwards
TABLE: dict[str, tuple[list[Seen], Seen, tuple[int, int, bytes, str] | None]] = {
    "nothing is known, no field": ([], seen(10), None),
    "nothing is known, a field": ([], seen(10, K1), (10, 10, K1, "nopreference")),
    "a preference": ([], seen(10, K1, "mutual"), (10, 10, K1, "mutual")),
    "step 1: older than the field": (
        [seen(10, K1)],
        seen(9, K2, "mutual"),
        (10, 10, K1, "nopreference"),
    ),
    "step 1: older, without field": ([seen(10, K1)], seen(9), (10, 10, K1, "nopreference")),
    "step 1: as old as the field": ([seen(10, K1)], seen(10, K2), (10, 10, K2, "nopreference")),
    "step 2 and 3: newer, without field": (
        [seen(10, K1, "mutual")],
        seen(11),
        (11, 10, K1, "mutual"),
    ),
    "step 2: between field and last mail": (
        [seen(10, K1), seen(20)],
        seen(15, K2),
        (20, 15, K2, "nopreference"),
    ),
    "step 3: between, without field": (
        [seen(10, K1), seen(20)],
        seen(15),
        (20, 10, K1, "nopreference"),
    ),
    "steps 4 to 6: a newer key": ([seen(10, K1)], seen(11, K2, "mutual"), (11, 11, K2, "mutual")),
    "steps 4 to 6: the preference is taken back": (
        [seen(10, K1, "mutual")],
        seen(11, K1),
        (11, 11, K1, "nopreference"),
    ),
    "the field returns": (
        [seen(10, K1, "mutual"), seen(20), seen(30)],
        seen(40, K1, "mutual"),
        (40, 40, K1, "mutual"),
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_a_mail_changes_what_the_specification_says(case: str) -> None:
    before, mail, expected = TABLE[case]
    peer: Peer | None = None
    for one in before:
        peer = update(peer, ALICE, one)
    peer = update(peer, ALICE, mail)
    if expected is None:
        assert peer is None
    else:
        last, stamp, key, prefer = expected
        assert peer is not None
        assert (peer.last_seen, peer.autocrypt_timestamp) == (last, stamp)
        assert (peer.public_key, peer.prefer_encrypt) == (pack(key), prefer)
        assert (peer.gossip_timestamp, peer.gossip_key) == (0, "")
    assert update(peer, ALICE, mail) == peer  # read again, after a crash: nothing changes


@pytest.mark.parametrize(
    ("sent", "received", "effective"),
    [(100, 200, 100), (200, 200, 200), (201, 200, 200), (None, 200, 200), (10**12, 200, 200)],
)
def test_the_effective_date_is_never_in_the_future(
    sent: int | None, received: int, effective: int
) -> None:
    assert effective_date(sent, received) == effective


def test_gossip_fills_its_own_key_and_no_other() -> None:
    peer = update(None, BOB, Seen(10, Header(BOB, "mutual", K1)))
    peer = update_from_gossip(peer, BOB, Gossiped(5, K2, ALICE, "<m@a>", "signature good"))
    assert (peer.public_key, peer.gossip_key) == (pack(K1), pack(K2))
    assert (peer.last_seen, peer.autocrypt_timestamp, peer.gossip_timestamp) == (10, 10, 5)
    assert (peer.gossip_from, peer.gossip_mail) == (ALICE, "<m@a>")
    assert peer.prefer_encrypt == "mutual"


def test_older_gossip_changes_nothing_and_newer_does() -> None:
    first = update_from_gossip(None, BOB, Gossiped(10, K1, ALICE, "<1@a>"))
    assert update_from_gossip(first, BOB, Gossiped(9, K2, EVE)) == first
    same = update_from_gossip(first, BOB, Gossiped(10, K2, EVE))
    assert (same.gossip_key, same.gossip_from) == (
        pack(K2),
        EVE,
    )  # "more recent" ends it, not "as recent"
    again = update_from_gossip(first, BOB, Gossiped(20, K1, EVE, "<2@e>"))
    assert (again.gossip_timestamp, again.gossip_from, again.gossip_mail) == (20, ALICE, "<1@a>")


def test_the_mail_that_brought_the_key_stays_its_evidence_until_one_is_vouched_for() -> None:
    peer = update(None, ALICE, seen(10, K1))
    peer = update(peer, ALICE, seen(11, K1))
    assert peer is not None
    assert peer.mail == "<10@a>"
    peer = update(peer, ALICE, seen(12, K1)._replace(authentication="signature good"))
    peer = update(peer, ALICE, seen(13, K1)._replace(authentication="signature good"))
    peer = update(peer, ALICE, seen(14, K1))
    assert peer is not None
    assert (peer.mail, peer.authentication) == ("<12@a>", "signature good")
    peer = update(peer, ALICE, seen(15, K2))
    assert peer is not None
    assert (peer.mail, peer.authentication) == ("<15@a>", "")


def test_a_state_is_written_for_news_and_once_a_day_for_time() -> None:
    kept = update(None, ALICE, seen(1000, K1))
    assert kept is not None
    assert is_worth_keeping(None, kept)
    day = KEPT_WITHIN
    for mail, worth in [
        (seen(1000, K1), False),
        (seen(999 + day, K1), False),
        (seen(1000 + day, K1), True),
        (seen(999 + day), False),
        (seen(1000 + day), True),
        (seen(1001, K2), True),
        (seen(1001, K1, "mutual"), True),
    ]:
        peer = update(kept, ALICE, mail)
        assert peer is not None
        assert is_worth_keeping(kept, peer) is worth, mail
    assert is_worth_keeping(kept, update_from_gossip(kept, ALICE, Gossiped(5, K2, BOB)))


# --- gossip fields ----------------------------------------------------------------------------


def gossip(address: str, key: bytes) -> bytes:
    value = header_value(address, key)
    assert value is not None
    return value.encode()


def test_gossip_is_only_about_those_the_mail_names() -> None:
    values = [gossip(BOB, K1), gossip(EVE, K2), b"junk", gossip("Carol@C.test", K2)]
    assert read_gossip(values, ["BOB@b.test", "carol@c.test"]) == {BOB: K1, "carol@c.test": K2}
    assert read_gossip(values, []) == {}


def test_two_keys_for_one_address_are_neither() -> None:
    assert read_gossip([gossip(BOB, K1), gossip(BOB, K2), gossip(BOB, K1)], [BOB]) == {}
    assert read_gossip([gossip(BOB, K1), gossip(BOB, K1)], [BOB]) == {BOB: K1}


def test_a_flood_of_gossip_is_cut_off() -> None:
    people = [f"p{n}@b.test" for n in range(MAX_GOSSIP + 10)]
    assert len(read_gossip([gossip(p, K1) for p in people], people)) == MAX_GOSSIP


# --- two devices ------------------------------------------------------------------------------

_PEERS = st.builds(
    Peer,
    address=st.just(ALICE),
    last_seen=st.integers(0, 3),
    autocrypt_timestamp=st.integers(0, 3),
    public_key=st.sampled_from(["", "a", "b"]),
    prefer_encrypt=st.sampled_from(["mutual", "nopreference"]),
    mail=st.sampled_from(["", "<1@a>"]),
    gossip_timestamp=st.integers(0, 3),
    gossip_key=st.sampled_from(["", "a", "b"]),
    gossip_from=st.sampled_from(["", BOB]),
)


@given(_PEERS, _PEERS, _PEERS)
@settings(max_examples=40, deadline=None)
def test_devices_end_with_the_same_in_whatever_order_they_merge(a: Peer, b: Peer, c: Peer) -> None:
    assert join(a, b) == join(b, a)
    assert join(join(a, b), c) == join(a, join(b, c))
    assert join(a, a) == a
    assert join(join(a, b), b) == join(a, b)


_MAILS = st.lists(
    st.tuples(st.integers(1, 5), st.sampled_from([None, K1]), st.booleans()), max_size=8
)


@given(_MAILS, st.integers(0, 8))
@settings(max_examples=40, deadline=None)
def test_two_devices_that_read_half_of_the_mail_each_know_what_one_would(
    mails: list[tuple[int, bytes | None, bool]], half: int
) -> None:
    def after(some: list[tuple[int, bytes | None, bool]]) -> Peer | None:
        peer = update(None, ALICE, seen(0, K1))
        for date, key, _ in some:
            peer = update(peer, ALICE, seen(date, key))
        return peer

    one, other, both = after(mails[:half]), after(mails[half:]), after(mails)
    assert one is not None
    assert other is not None
    assert both is not None
    joined = join(one, other)
    assert joined.autocrypt_timestamp == both.autocrypt_timestamp
    assert joined.last_seen == max(both.last_seen, joined.last_seen)
    assert joined.public_key == both.public_key


def test_documents_merge_and_an_edit_beats_a_deletion() -> None:
    merge = MERGES[PEER]
    old = content_of(Peer(address=ALICE, last_seen=1))
    mine = content_of(Peer(address=ALICE, last_seen=5, autocrypt_timestamp=5, public_key="a"))
    theirs = content_of(Peer(address=ALICE, last_seen=7, gossip_timestamp=7, gossip_key="b"))
    merged = merge(old, mine, theirs)
    assert merged is not None
    peer = msgspec.convert(merged, Peer)
    assert (peer.last_seen, peer.public_key, peer.gossip_key) == (7, "a", "b")
    assert merge(None, mine, theirs) == merged
    assert merge(old, mine, None) == mine
    assert merge(old, None, theirs) == theirs
    assert merge(old, old, None) is None
    newer_program = {**theirs, "prefer_encrypt": "always"}
    assert merge(old, mine, newer_program) == newer_program
    assert merge(old, old, newer_program) == newer_program


def test_of_two_settings_the_later_stands() -> None:
    merge = MERGES[ACCOUNT]
    old, mine, theirs = (
        {"type": ACCOUNT, "prefer_encrypt": word, "when": when}
        for word, when in [("mutual", 1), ("nopreference", 5), ("mutual", 3)]
    )
    assert merge(old, mine, theirs) == mine
    assert merge(old, theirs, mine) == mine
    assert merge(old, old, theirs) == theirs
    assert merge(old, mine, old) == mine
    assert merge(old, mine, None) == mine
    assert merge(old, None, theirs) == theirs
