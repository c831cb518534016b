"""A provider's data of every former version is brought forward; data of a newer one is left alone."""

from __future__ import annotations

import pytest
import sqlcipher3

from leap.provider.storage.schema import VERSION, NewerStore, create_tables


def columns(connection: sqlcipher3.Connection, table: str) -> set[str]:
    return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}


def drop_scram(connection: sqlcipher3.Connection) -> None:
    for column in ("scram_stored", "scram_server"):
        connection.execute(f"ALTER TABLE token DROP COLUMN {column}")


def test_data_of_version_1_is_brought_forward() -> None:
    connection = sqlcipher3.connect(":memory:")
    create_tables(connection)
    connection.execute("ALTER TABLE inbox DROP COLUMN leased_by")
    connection.execute("ALTER TABLE blob DROP COLUMN created")
    connection.execute("ALTER TABLE head DROP COLUMN generation")
    drop_scram(connection)
    connection.execute("PRAGMA user_version = 1")
    create_tables(connection)
    assert "leased_by" in columns(connection, "inbox")
    assert {"scram_stored", "scram_server"} <= columns(connection, "token")
    assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
    connection.close()


def test_blobs_of_version_2_are_as_old_as_the_upgrade() -> None:
    connection = sqlcipher3.connect(":memory:", isolation_level=None)
    create_tables(connection)
    connection.execute("ALTER TABLE blob DROP COLUMN created")
    connection.execute("ALTER TABLE head DROP COLUMN generation")
    drop_scram(connection)
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute(
        "INSERT INTO blob (account, blob_id, size, sha256, sealed)"
        " VALUES (1, x'00', 1, zeroblob(32), x'01')"
    )
    connection.execute("PRAGMA user_version = 2")
    (now,) = connection.execute("SELECT unixepoch()").fetchone()
    create_tables(connection)
    (created,) = connection.execute("SELECT created FROM blob").fetchone()
    assert now <= created <= now + 60
    connection.close()


def test_data_of_a_newer_version_is_not_touched() -> None:
    connection = sqlcipher3.connect(":memory:")
    connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(NewerStore, match=str(VERSION + 1)):
        create_tables(connection)
    assert columns(connection, "inbox") == set()
    connection.close()
