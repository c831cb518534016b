"""The set digest: order does not matter, everything else does."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leap.soledad.digest import DIGEST_SIZE, EMPTY, SetDigest
from leap.soledad.envelope import Epoch

EPOCH = Epoch(1, b"k" * 32)
ITEM, OTHER = b"i" * 32, b"j" * 32
HASH = hashlib.sha256(b"sealed").digest()

items = st.lists(
    st.tuples(
        st.binary(min_size=32, max_size=32),
        st.integers(min_value=0, max_value=2**53 - 1),
        st.binary(min_size=32, max_size=32),
    ),
    max_size=8,
)


@given(items, st.randoms())
def test_the_order_does_not_matter(listed, source):
    shuffled = list(listed)
    source.shuffle(shuffled)
    assert (
        SetDigest.of(EPOCH, "a", listed).to_bytes() == SetDigest.of(EPOCH, "a", shuffled).to_bytes()
    )


@given(items, items)
def test_taking_out_undoes_adding(kept, removed):
    digest = SetDigest.of(EPOCH, "a", [*kept, *removed])
    for item in removed:
        digest.remove(*item)
    assert digest.matches(SetDigest.of(EPOCH, "a", kept).to_bytes())


def test_item_version_bytes_epoch_and_account_all_matter():
    digests = {
        SetDigest.of(epoch, account, [item]).to_bytes()
        for epoch, account, item in [
            (EPOCH, "a", (ITEM, 1, HASH)),
            (EPOCH, "a", (OTHER, 1, HASH)),
            (EPOCH, "a", (ITEM, 2, HASH)),
            (EPOCH, "a", (ITEM, 1, ITEM)),
            (EPOCH, "b", (ITEM, 1, HASH)),
            (Epoch(2, b"z" * 32), "a", (ITEM, 1, HASH)),
        ]
    }
    assert len(digests) == 6
    assert EMPTY not in digests


def test_the_same_item_twice_is_not_the_empty_set():
    """An exclusive or would cancel out."""
    assert SetDigest.of(EPOCH, "a", [(ITEM, 1, HASH)] * 2).to_bytes() != EMPTY


def test_a_digest_continues_from_its_bytes():
    stored = SetDigest.of(EPOCH, "a", [(ITEM, 1, HASH)]).to_bytes()
    digest = SetDigest(EPOCH, "a", stored)
    digest.add(OTHER, 1, HASH)
    assert digest.matches(SetDigest.of(EPOCH, "a", [(ITEM, 1, HASH), (OTHER, 1, HASH)]).to_bytes())


def test_a_copy_goes_its_own_way():
    digest = SetDigest.of(EPOCH, "a", [(ITEM, 1, HASH)])
    twin = digest.copy()
    twin.add(OTHER, 1, HASH)
    assert digest.matches(SetDigest.of(EPOCH, "a", [(ITEM, 1, HASH)]).to_bytes())
    assert not twin.matches(digest.to_bytes())


def test_mistakes_of_the_caller_are_refused():
    with pytest.raises(ValueError, match="64 octets"):
        SetDigest(EPOCH, "a", b"short")
    with pytest.raises(ValueError, match="32 octets"):
        SetDigest(EPOCH, "a").add(b"short", 1, HASH)
    assert len(SetDigest(EPOCH, "a").to_bytes()) == DIGEST_SIZE


def test_the_sum_is_not_shown():
    """It must stay hidden from the provider, so it does not go into logs either."""
    digest = SetDigest.of(EPOCH, "a", [(ITEM, 1, HASH)])
    assert digest.to_bytes().hex()[:8] not in repr(digest)
