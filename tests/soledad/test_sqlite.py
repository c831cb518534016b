"""The one-writer database: grouping, isolation of failures, durability, keys, limits, closing."""

import asyncio
import errno
import os
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from leap.soledad.errors import NotOpen, StoreFull, StoreLocked, WrongKey
from leap.soledad.sqlite import MAX_POSTPONED, Connection, Database, IntegrityError, Look

KEY = bytes(range(32))


async def _filled(path: Path, key: bytes | None = None) -> Database:
    db = await Database.open(path, key=key)
    await db.write(lambda c: c.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b)"))
    return db


async def test_write_then_read(tmp_path: Path) -> None:
    db = await _filled(tmp_path / "x.db")
    await db.write(lambda c: c.execute("INSERT INTO t (a, b) VALUES (1, 'one')"))
    assert await db.read(lambda c: c.execute("SELECT b FROM t").fetchall()) == [("one",)]
    await db.close()


async def test_a_failing_job_harms_only_itself_even_inside_a_group(tmp_path: Path) -> None:
    db = await _filled(tmp_path / "x.db")
    gate = threading.Event()

    def put(n: int, fail: bool) -> int:
        def job(c) -> int:  # type: ignore[no-untyped-def]
            c.execute("INSERT INTO t (a, b) VALUES (?, ?)", (n, str(n)))
            if fail:
                raise ValueError(n)
            return n

        return db.write(job, durable=n % 3 == 0)  # type: ignore[return-value]

    first = asyncio.ensure_future(db.write(lambda c: gate.wait(5)))
    rest = [asyncio.ensure_future(put(n, n % 5 == 0)) for n in range(1, 40)]
    await asyncio.sleep(0)
    gate.set()
    await first
    results = await asyncio.gather(*rest, return_exceptions=True)
    for n, result in enumerate(results, 1):
        assert isinstance(result, ValueError) if n % 5 == 0 else result == n
    kept = await db.read(lambda c: [a for (a,) in c.execute("SELECT a FROM t ORDER BY a")])
    assert kept == [n for n in range(1, 40) if n % 5]
    await db.close()


async def test_jobs_that_wait_share_one_commit(tmp_path: Path) -> None:
    db = await _filled(tmp_path / "x.db")
    seen: list[int] = []
    gate = threading.Event()
    blocker = asyncio.ensure_future(db.write(lambda c: gate.wait(5)))
    jobs = [
        asyncio.ensure_future(
            db.write(
                lambda c, n=n: (c.execute("INSERT INTO t (a) VALUES (?)", (n,)), seen.append(n))
            )
        )
        for n in range(100)
    ]
    await asyncio.sleep(0)
    before = db.commits
    gate.set()
    await asyncio.gather(blocker, *jobs)
    assert seen == list(range(100))  # in the order they came
    assert db.commits - before < 20
    await db.close()


async def test_durable_jobs_are_committed_with_synchronous_full(tmp_path: Path) -> None:
    db = await _filled(tmp_path / "x.db")
    level = lambda c: c.execute("PRAGMA synchronous").fetchone()[0]  # noqa: E731
    assert await db.write(level, durable=True) == 2
    assert await db.write(level) == 1
    await db.close()


async def test_encrypted_file_has_no_plaintext_and_wants_its_key(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    db = await _filled(path, KEY)
    await db.write(lambda c: c.execute("INSERT INTO t (b) VALUES ('marker-ABCDEF')"))
    for name in os.listdir(tmp_path):
        data = (tmp_path / name).read_bytes()
        assert b"marker-ABCDEF" not in data
        assert not data.startswith(b"SQLite format 3")
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    await db.close()
    with pytest.raises(WrongKey):
        await Database.open(path, key=bytes(32))
    with pytest.raises(WrongKey):
        await Database.open(path, key=None)
    with pytest.raises(WrongKey):
        await Database.open(path, key=b"short")
    again = await Database.open(path, key=KEY)
    assert await again.read(lambda c: c.execute("SELECT b FROM t").fetchall()) == [
        ("marker-ABCDEF",)
    ]
    await again.close()


async def test_plain_file_is_not_taken_for_an_encrypted_one(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    await (await _filled(path)).close()
    with pytest.raises(WrongKey):
        await Database.open(path, key=KEY)


async def test_open_twice_is_refused(tmp_path: Path) -> None:
    db = await _filled(tmp_path / "x.db")
    with pytest.raises(StoreLocked):
        await Database.open(tmp_path / "x.db", key=None)
    await db.close()
    await (await Database.open(tmp_path / "x.db", key=None)).close()


async def test_full_disk_is_named_and_changes_nothing(tmp_path: Path) -> None:
    db = await _filled(tmp_path / "x.db")
    await db.write(lambda c: c.execute("PRAGMA max_page_count = 10"))
    with pytest.raises(StoreFull):
        await db.write(lambda c: c.execute("INSERT INTO t (b) VALUES (zeroblob(1000000))"))
    await db.write(lambda c: c.execute("INSERT INTO t (b) VALUES ('small')"))
    assert await db.read(lambda c: c.execute("SELECT count(*) FROM t").fetchone()) == (1,)
    await db.close()


async def test_readers_cannot_write(tmp_path: Path) -> None:
    db = await _filled(tmp_path / "x.db")
    with pytest.raises(Exception, match="readonly"):
        await db.read(lambda c: c.execute("INSERT INTO t (a) VALUES (1)"))
    await db.close()


async def test_close_commits_what_waits_and_refuses_what_comes(tmp_path: Path) -> None:
    db = await _filled(tmp_path / "x.db")
    jobs = [
        asyncio.ensure_future(
            db.write(lambda c, n=n: c.execute("INSERT INTO t VALUES (?, 1)", (n,)))
        )
        for n in range(20)
    ]
    await asyncio.sleep(0)
    await db.close()
    await db.close()
    await asyncio.gather(*jobs)
    with pytest.raises(NotOpen):
        await db.write(lambda c: None)
    with pytest.raises(NotOpen):
        await db.read(lambda c: None)
    db = await Database.open(tmp_path / "x.db", key=None)
    assert await db.read(lambda c: c.execute("SELECT count(*) FROM t").fetchone()) == (20,)
    await db.close()


async def test_cancelled_writer_does_not_stop_the_commit(tmp_path: Path) -> None:
    db = await _filled(tmp_path / "x.db")
    task = asyncio.ensure_future(db.write(lambda c: c.execute("INSERT INTO t (a) VALUES (1)")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await db.write(lambda c: None)
    assert await db.read(lambda c: c.execute("SELECT count(*) FROM t").fetchone()) == (1,)
    await db.close()


async def test_the_names_of_file_and_wal_are_durable_before_the_first_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[str] = set()
    fsync = os.fsync

    def look(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            assert os.path.samestat(os.fstat(descriptor), tmp_path.stat())
            synced.update(os.listdir(tmp_path))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    db = await Database.open(tmp_path / "x.db", key=KEY)
    assert {"x.db", "x.db-wal"} <= synced
    await db.close()


async def test_a_folder_that_cannot_be_synced_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(errno.EINVAL, "this file system does not sync folders")

    monkeypatch.setattr(os, "fsync", fsync)
    await (await _filled(tmp_path / "x.db")).close()


async def test_another_process_that_looks_into_the_file_leaves_its_log_alone(
    tmp_path: Path,
) -> None:
    """Had this process given up its locks, the other one's end would remove the log of a database in use."""
    path = tmp_path / "plain.sqlite"
    look = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]);"
        " print(c.execute('SELECT count(*) FROM t').fetchone()[0]); c.close()"
    )
    database = await Database.open(path, key=None)
    try:
        await database.write(lambda c: c.execute("CREATE TABLE t (n INTEGER)"))
        for n in range(3):
            await database.write(lambda c, n=n: c.execute("INSERT INTO t VALUES (?)", (n,)))  # type: ignore[misc]
            await database.read(lambda c: c.execute("SELECT count(*) FROM t").fetchone())
            await database.apart(lambda c: c.execute("SELECT count(*) FROM t").fetchone())
            log = path.with_name("plain.sqlite-wal").stat().st_ino
            seen = await asyncio.to_thread(
                subprocess.run, [sys.executable, "-c", look, str(path)], capture_output=True
            )
            assert seen.stdout.strip() == str(n + 1).encode(), seen.stderr
            assert path.with_name("plain.sqlite-wal").stat().st_ino == log
    finally:
        await database.close()
    again = await Database.open(path, key=None)
    assert await again.read(lambda c: c.execute("SELECT n FROM t").fetchall()) == [(0,), (1,), (2,)]
    await again.close()


# -- jobs in two parts


async def _noting(db: Database, n: int) -> asyncio.Future[Any]:
    """Notes `n`, and answers when it will be in `t`."""
    noted, made = db.submit_in_two(
        lambda c: c.execute("INSERT INTO noted (a) VALUES (?)", (n,)),
        lambda c: c.execute("INSERT INTO t (a) VALUES (?)", (n,)),
    )
    await noted
    return made


def _rows(c: Connection) -> list[int]:
    return [a for (a,) in c.execute("SELECT a FROM t ORDER BY rowid")]


@pytest.fixture
async def noted(tmp_path: Path) -> AsyncIterator[Database]:
    db = await _filled(tmp_path / "x.db")
    await db.write(lambda c: c.execute("CREATE TABLE noted (a INTEGER PRIMARY KEY)"))
    yield db
    await db.close()


async def test_whoever_asks_after_a_note_finds_its_rest_done(noted: Database) -> None:
    for ask in (noted.read, noted.write, noted.apart):
        for n in (1, 2, 3):
            await _noting(noted, n)
        assert await ask(_rows) == [1, 2, 3]
        await noted.write(lambda c: (c.execute("DELETE FROM t"), c.execute("DELETE FROM noted")))


async def test_a_rest_that_runs_but_is_not_committed_is_waited_for(noted: Database) -> None:
    running, gate = threading.Event(), threading.Event()

    def job(c: Connection) -> None:  # the rest runs before it, in one transaction with it
        running.set()
        gate.wait(5)

    await _noting(noted, 1)
    writing = asyncio.ensure_future(noted.write(job))
    await asyncio.to_thread(running.wait, 5)
    reading = asyncio.ensure_future(noted.read(_rows))
    done, _ = await asyncio.wait([reading], timeout=0.1)
    gate.set()
    assert not done
    assert await reading == [1]
    await writing


async def test_rests_run_by_themselves_when_nobody_asks(noted: Database) -> None:
    made = [await _noting(noted, n) for n in (1, 2)]
    await asyncio.gather(*made)
    assert await noted.read(_rows) == [1, 2]


async def test_a_note_that_fails_has_no_rest(noted: Database) -> None:
    await _noting(noted, 1)
    with pytest.raises(IntegrityError):
        await _noting(noted, 1)
    assert await noted.read(_rows) == [1]


async def test_a_rest_that_fails_fails_who_asks_and_runs_again(noted: Database) -> None:
    broken = True

    def rest(c: Connection) -> str:
        if broken:
            raise StoreFull("the disk is full")
        c.execute("INSERT INTO t (a) VALUES (7)")
        return "made"

    first, made = noted.submit_in_two(lambda c: None, rest)
    await first
    with pytest.raises(StoreFull):
        await noted.read(_rows)
    with pytest.raises(StoreFull):
        await noted.write(lambda c: None)
    broken = False
    assert await noted.read(_rows) == [7]
    assert await made == "made"


async def test_closing_does_the_rest(tmp_path: Path) -> None:
    db = await _filled(tmp_path / "x.db")
    noted, _ = db.submit_in_two(lambda c: None, lambda c: c.execute("INSERT INTO t (a) VALUES (1)"))
    await noted
    await db.close()
    db = await Database.open(tmp_path / "x.db", key=None)
    assert await db.read(_rows) == [1]
    await db.close()


async def test_more_notes_than_fit_are_taken_all_the_same(noted: Database) -> None:
    for n in range(MAX_POSTPONED * 2 + 3):
        await _noting(noted, n)
        assert len(noted._postponed) <= MAX_POSTPONED
    assert await noted.read(_rows) == list(range(MAX_POSTPONED * 2 + 3))


async def test_between_runs_beside_writing_but_not_beside_ordered_jobs(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "a.db", key=KEY)
    await database.write(lambda c: c.execute("CREATE TABLE t (a)"))
    begun, go_on = threading.Event(), threading.Event()
    happened: list[str] = []

    def slow(connection: Connection) -> None:
        connection.execute("INSERT INTO t VALUES (1)")
        begun.set()
        assert go_on.wait(20)
        happened.append("written")

    def look(read: Look) -> int:
        count: int = read(lambda c: c.execute("SELECT count(*) FROM t").fetchone()[0])
        happened.append("looked")
        return count

    plain = database.submit(slow)
    await asyncio.to_thread(begun.wait)
    assert await database.between(look) == 0
    go_on.set()
    await plain
    begun.clear()
    go_on.clear()
    happened.clear()
    ordered = database.submit(slow, ordered=True)
    await asyncio.to_thread(begun.wait)
    looked = database.between(look)
    go_on.set()
    assert await looked == 2
    await ordered
    assert happened == ["written", "looked"]
    await database.close()


async def test_what_runs_between_raises_where_it_came_from_and_not_after_the_end(
    tmp_path: Path,
) -> None:
    database = await Database.open(tmp_path / "a.db", key=KEY)

    def fails(read: Look) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await database.between(fails)
    await database.close()
    with pytest.raises(NotOpen):
        database.between(fails)
