"""An account's answers are those of reading every message, whatever was stored, changed and deleted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.mail.contract import INBOX, MailboxId, NewMessage, QueryError, SearchedText, Uid
from leap.mail.local import LocalAccount, open_mail_store
from leap.mail.memory import MemoryAccount
from leap.mail.search import lookup, plan
from leap.mail.search.catching_up import make_signatures
from leap.mail.search.tables import create_search
from leap.soledad.maintenance import rebuild
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad
from tests.mail.index_check import check_index

ALICE, KEY = "alice@example.test", bytes(range(32))
WORDS = [
    "heron", "Heron's", "Reiher", "Größe", "STRASSE", "straße", "東京都", "京都", "がっこう", "Łódź", "İstanbul",
    "co-operate", "a.b@c.test", "https://example.test/a_b?x=1", "x" * 90 + "y", "ﬁsh", "é", "naïve", "👩\u200d💻", "ß",
    "100%", "…", "กขค", "x", "e", '"quoted"', "ab", "東",
]  # fmt: skip


def mail(
    words: Sequence[str], subject: str = "", sender: str = "bob@example.test", file: str = ""
) -> bytes:
    message = EmailMessage()
    message["From"] = sender
    message["To"] = "Alice <alice@example.test>"
    message["Cc"] = "Eve Heron <eve@heron.test>"
    message["Subject"] = subject
    message["X-Odd"] = "an odd field"
    message.set_content(" ".join(words))
    if file:
        message.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename=file)
    return message.as_bytes()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Soledad]:
    async with await open_mail_store(tmp_path / "store.db", KEY) as store:
        yield store
        await check_index(store)
        assert await store.read(lambda c: [f for p in store.projections for f in p.faults(c)]) == []  # type: ignore[attr-defined]


@pytest.fixture
async def account(store: Soledad) -> AsyncIterator[LocalAccount]:
    account = await LocalAccount.open(store, ALICE)
    yield account
    await account.close()


async def put(account: LocalAccount, *raws: bytes, to: MailboxId = INBOX) -> None:
    await account.append(
        to,
        [
            NewMessage(raw=raw, internal_date=1_700_000_000 + 86_400 * n)
            for n, raw in enumerate(raws)
        ],
    )
    await account.deriving.finish()


async def found(account: LocalAccount, query: str, limit: int = 50) -> list[int]:
    return [one.row.uid for one in (await account.search(query, limit)).found]


async def unindex(store: Soledad) -> None:
    """As if no text had been seen yet."""

    def job(connection: Connection) -> None:
        connection.execute("DELETE FROM mail_words")
        connection.execute("UPDATE mail_text SET state = 0")

    await store.write(job)


CORPUS = [
    mail(words, subject, sender, file)
    for words, subject, sender, file in (
        (WORDS[:9], "Heron news", "Jürgen <j@example.test>", ""),
        (WORDS[9:18], "Größe der 東京", "bob@heron.test", "Rechnung Nr. 5.pdf"),
        (WORDS[18:], "co-operate: é", "alice@example.test", "ÜBER.PDF"),
        (["plain", "words", "only"], "a" * 50 + "needle", "bob@example.test", ""),
        ([], "", "x@y.test", ""),
    )
]
NEEDLES = st.sampled_from(WORDS).flatmap(
    lambda word: st.tuples(st.integers(0, len(word)), st.integers(0, len(word))).map(
        lambda at: word[min(at) : max(at)]
    )
) | st.text(st.sampled_from("aeorhx東京 .@-_\"'é…:/0"), max_size=4)
WHERE: list[SearchedText] = ["text", "body", "from", "to", "cc", "bcc", "subject"]


TERMS = st.builds(
    lambda minus, place, needle: f'{minus}{place}"{needle}"',
    st.sampled_from(["", "", "-"]),
    st.sampled_from(["", "", "from:", "to:", "subject:", "body:"]),
    NEEDLES.map(lambda needle: needle.replace('"', "") or "e"),
) | st.sampled_from(
    ["has:attachment", "-has:attachment", "is:read", "in:archive", "after:2023-11-16"]
)
QUERIES = st.lists(
    st.sampled_from(["", "OR "]).flatmap(lambda o: TERMS.map(lambda t: o + t)), max_size=4
).map(lambda terms: " ".join(terms).removeprefix("OR "))
ROOMY: dict[str, int] = {}
# so small that each way of answering is taken even with a handful of messages
TIGHT = {"COMMON": 1, "MAX_TERMS": 2, "MANY": 1, "MATCHED_TERMS": 1, "_SPARSE": 3, "FIRST_PAGE": 2}


@pytest.mark.parametrize("bounds", [ROOMY, TIGHT])
async def test_every_answer_is_that_of_reading_all(
    account: LocalAccount, store: Soledad, bounds: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in bounds.items():
        monkeypatch.setattr(plan if hasattr(plan, name) else lookup, name, value)
        monkeypatch.setattr(lookup, name, value, raising=False)
    plain = MemoryAccount(ALICE)
    for one in (account, plain):
        for number, raw in enumerate(CORPUS):
            box = INBOX if number % 2 else MailboxId("archive")
            flags = ("\\Seen",) if number < 2 else ()
            date = 1_700_000_000 + 86_400 * number
            await one.append(box, [NewMessage(raw=raw, flags=flags, internal_date=date)])
    uids = [row.uid for row in await account.rows(INBOX)]
    loop = asyncio.get_running_loop()

    async def found_by(one: LocalAccount | MemoryAccount, query: str) -> object:
        try:
            result = await one.search(query, 3)
        except QueryError as error:
            return str(error)
        return [(found.mailbox_id, found.row.uid) for found in result.found], result.more

    async def compare(where: SearchedText, needle: str, query: str) -> None:
        expected = await plain.search_text(INBOX, uids, where, needle)
        assert await account.search_text(INBOX, uids, where, needle) == expected, (where, needle)
        assert await found_by(account, query) == await found_by(plain, query), query
        for field in ("X-Odd", "to", "Content-Type", "subject"):
            expected = await plain.search_header(INBOX, uids, field, needle)
            assert await account.search_header(INBOX, uids, field, needle) == expected, field

    @settings(max_examples=40, deadline=None)
    @given(st.sampled_from(WHERE), NEEDLES, QUERIES)
    def run(where: SearchedText, needle: str, query: str) -> None:
        asyncio.run_coroutine_threadsafe(compare(where, needle, query), loop).result()

    await asyncio.to_thread(run)
    await unindex(store)
    for where in WHERE:
        await compare(where, "heron", "heron -subject:heron")
    await plain.close()


async def test_the_language_of_people(account: LocalAccount) -> None:
    await put(account, *CORPUS)
    [archived] = await account.append(
        MailboxId("archive"),
        [NewMessage(raw=mail(["heron"]), flags=("\\Seen", "birds"), internal_date=1_600_000_000)],
    )
    assert await found(account, "") == [5, 4, 3, 2, 1, archived.uid]
    assert await found(account, "heron in:inbox -from:heron.test") == [5, 4, 3, 1]
    assert await found(account, "subject:heron") == [1]
    assert await found(account, "to:eve subject:grösse") == [2]
    assert await found(account, "has:attachment") == [3, 2]
    assert await found(account, "rechnung") == [2]
    assert await found(account, '"plain  WORDS"') == [4]
    assert await found(account, '"words plain"') == []
    assert await found(account, "is:read") == [archived.uid]
    assert await found(account, "tag:Birds heron") == [archived.uid]
    assert await found(account, "in:archive") == [archived.uid]
    assert await found(account, "before:2020-09-14") == [archived.uid]
    assert await found(account, "after:2023-11-16 is:unread") == [5, 4, 3]
    assert await found(account, "subject:heron OR subject:needle") == [4, 1]
    assert await found(account, "", limit=2) == [5, 4]
    assert (await account.search("", 2)).more
    assert not (await account.search("subject:heron", 1)).more
    with pytest.raises(QueryError):
        await account.search("is:nonsense")


async def test_what_is_deleted_is_found_no_more_and_its_words_go(
    account: LocalAccount, store: Soledad
) -> None:
    await put(account, *CORPUS)
    await account.copy(INBOX, [1], MailboxId("archive"))  # type: ignore[list-item]
    await account.store_flags(INBOX, [1, 2], "add", ["\\Deleted"])  # type: ignore[list-item]
    await account.expunge(INBOX)
    assert [one.mailbox_id for one in (await account.search("reiher")).found] == ["archive"]
    assert await found(account, "rechnung") == []
    numbers = await store.read(lambda c: c.execute("SELECT count(*) FROM mail_text").fetchone()[0])
    assert numbers == 4


async def test_a_rebuild_gives_the_same_answers_at_once_and_when_it_is_filled(
    account: LocalAccount, store: Soledad
) -> None:
    await put(account, *CORPUS)
    queries = ["heron", "from:j@ex", "東京", "has:attachment", "-heron", "co-op"]
    before = [await found(account, query) for query in queries]
    await rebuild(store)
    assert [await found(account, query) for query in queries] == before
    await account.deriving.words.fill()
    left = "SELECT count(*) FROM mail_text WHERE state = 0"
    assert await store.read(lambda c: c.execute(left).fetchone()[0]) == 0
    assert [await found(account, query) for query in queries] == before


async def test_what_is_not_indexed_yet_is_found_and_is_indexed_after_a_crash(
    store: Soledad,
) -> None:
    left = "SELECT count(*) FROM mail_text WHERE state = 0"
    first = LocalAccount(store, "alice@example.test")
    await first.deriving.words.close()
    await first.append(INBOX, [NewMessage(raw=mail(["kingfisher"]))])
    assert await found(first, "kingfisher") == [1]
    assert await store.read(lambda c: c.execute(left).fetchone()[0]) == 1
    await first.close()
    second = LocalAccount(store, "alice@example.test")
    await second.deriving.finish()
    assert await found(second, "kingfisher") == [1]
    assert await store.read(lambda c: c.execute(left).fetchone()[0]) == 0
    await second.close()


async def test_a_transaction_undone_leaves_no_hole_in_the_vocabulary(
    account: LocalAccount, store: Soledad
) -> None:
    from leap.mail.search.tables import keep_terms, want_texts
    from leap.mail.search.words import Terms

    def job(connection: Connection) -> None:
        want_texts(connection, [("0" * 32, 1)])
        keep_terms(connection, [("0" * 32, Terms("kingfisher heron", False))])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.write(job)
    await put(account, mail(["kingfisher"]))
    assert await found(account, "ingfishe") == [1]


async def test_text_that_is_no_prose_is_found_without_being_indexed(
    account: LocalAccount, store: Soledad
) -> None:
    pasted = b"".join(b"%064x\r\n" % (n * 0x9E3779B97F4A7C15 % 2**256) for n in range(300))
    await put(account, b"Subject: a dump\r\n\r\nkingfisher\r\n" + pasted, mail(["heron"]))
    assert await found(account, "kingfisher") == [1]
    assert await found(account, "body:9e3779b97f4a7c15") == [1]
    assert await found(account, "dump -heron") == [1]
    terms = await store.read(
        lambda c: [term for (term,) in c.execute("SELECT term FROM mail_term")]
    )
    assert not any("9e3779b97f4a7c15" in term for term in terms)


async def test_a_number_is_not_given_twice_in_the_index(
    account: LocalAccount, store: Soledad
) -> None:
    async def numbers() -> list[int]:
        return await store.read(lambda c: [n for (n,) in c.execute("SELECT number FROM mail_text")])

    await put(account, mail(["heron"]), mail(["egret"]))
    before = await numbers()
    await account.store_flags(INBOX, [Uid(1), Uid(2)], "add", ["\\Deleted"])
    await account.expunge(INBOX, None)
    await put(account, mail(["stork"]))
    assert min(await numbers()) > max(before)
    assert await found(account, "stork") == [3]


async def test_an_index_without_signatures_answers_the_same_and_gets_them(
    store: Soledad,
) -> None:
    account = await LocalAccount.open(store, ALICE)
    await put(account, *CORPUS)
    uids = [row.uid for row in await account.rows(INBOX)]

    async def asked() -> list[list[Uid]]:
        needles = ("odd field", "x-odd", "heron", "mime-version", "nowhere")
        return [await account.search_text(INBOX, uids, "text", one) for one in needles] + [
            await account.search_header(INBOX, uids[:2], "x-odd", one) for one in ("", "odd", "no")
        ]

    def unknown(connection: Connection) -> int:
        [count] = connection.execute(
            "SELECT count(*) FROM mail_head WHERE signature = x''"
        ).fetchone()
        return int(count)

    before = await asked()
    await account.close()

    def former_version(connection: Connection) -> None:
        connection.execute("DROP TABLE mail_head")
        create_search(connection)

    await store.write(former_version)
    assert await store.read(unknown) == len(CORPUS)
    account = await LocalAccount.open(store, ALICE)
    assert await asked() == before
    await make_signatures(store)
    assert await store.read(unknown) == 0
    assert await asked() == before
    await account.close()


async def test_only_headers_that_may_hold_the_needle_are_read(
    account: LocalAccount, store: Soledad, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(account, *CORPUS)
    uids = [row.uid for row in await account.rows(INBOX)]
    read: list[object] = []
    real = Soledad.read_blob

    async def noted(self: Soledad, *which: Any) -> bytes:
        read.append(which)
        return await real(self, *which)

    monkeypatch.setattr(Soledad, "read_blob", noted)
    assert await account.search_text(INBOX, uids, "text", "qqnowhereqq") == []
    assert await account.search_header(INBOX, uids, "x-nobody-has-this", "") == []
    assert read == []
    assert await account.search_text(INBOX, uids, "text", "an odd field") == uids
    assert len(read) == len(uids)
