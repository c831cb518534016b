"""Founding the log anew: this device's state becomes the log, whatever the provider shows.

    1. the root key signs a keyset with the next generation (`generation`), which needs the passphrase
    2. `begin`, here and durably: what was applied of the log is former, everything is to be pushed
    3. the first commit replaces the log at the provider; further ones bring the rest (`HeadRecord.partial`)
    4. blobs that the provider lacks are sent again

A crash between 1 and 2 leaves a generation without a log: nobody minds, and the next attempt makes one more. From 2 on
the engine goes on by itself. Other devices see the new generation in the keyset and take the whole log (`rejoin`).

Invariant: nothing of this store is changed but what is known of the provider's log.
"""

from __future__ import annotations

import json

from leap.soledad.errors import Refused, SoledadError
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad
from leap.soledad.syncing.rejoin import retire_log
from leap.soledad.syncing.remote import SyncRemote
from leap.soledad.syncing.state import (
    ALARM,
    CHECK_BLOBS,
    Founding,
    SyncState,
    forget_aside,
    load_state,
    save_state,
)
from leap.soledad.transaction import save_setting
from leap.soledad.wire import MAX_BATCH_BLOBS


async def begin(store: Soledad, generation: int) -> None:
    """From here on this device founds `generation`. Raises SoledadError before its first pull was complete."""
    material = store.material
    assert material is not None
    device_id = material.device.device_id

    def job(connection: Connection) -> None:
        state = load_state(connection, device_id)
        if not state.complete:
            raise SoledadError(
                "this device has never had all of the account; found the log anew from another one"
            )
        founded_on = {} if state.founding is None else dict(state.founding.founded_on)
        seq = 0 if state.founding is None else state.founding.seq
        if state.record is not None:
            seq = max(seq, state.record.seq)
            for counters in (
                state.record.founded_on,
                {name: entry.counter for name, entry in state.record.devices.items()},
            ):
                for name, counter in counters.items():
                    founded_on[name] = max(counter, founded_on.get(name, 0))
        if state.pending is not None:
            seq = max(seq, state.pending.record.seq)
        retire_log(connection)
        connection.execute("DELETE FROM pending_item")
        forget_aside(connection)
        save_setting(connection, ALARM, None)
        save_setting(connection, CHECK_BLOBS, 1)
        save_state(
            connection,
            SyncState(
                device_id,
                complete=True,
                attempt=state.attempt,
                founding=Founding(generation, founded_on, seq),
            ),
        )

    await store.write(job, durable=True)


async def resend_blobs(store: Soledad, remote: SyncRemote) -> None:
    """Puts blobs that are here and not at the provider on the list of those to send. Does nothing unless due."""
    if await store.setting(CHECK_BLOBS) is None:
        return
    known = await store.read(
        lambda c: [
            blob_id
            for (blob_id,) in c.execute(
                "SELECT blob_id FROM blob UNION SELECT blob_id FROM blob_evicted ORDER BY blob_id"
            )
        ]
    )
    there = json.dumps(await _those_there(remote, known))

    def job(connection: Connection) -> None:
        connection.execute(
            "INSERT OR IGNORE INTO blob_unsent (blob_id, again) SELECT blob_id, 1 FROM blob"
            " WHERE blob_id NOT IN (SELECT value FROM json_each(?1))"
            " AND blob_id NOT IN (SELECT blob_id FROM blob_doomed)",
            (there,),
        )
        gone = connection.execute(
            "SELECT blob_id FROM blob_evicted WHERE blob_id NOT IN (SELECT value FROM json_each(?))",
            (there,),
        )
        store.blobs.give_up(connection, [blob_id for (blob_id,) in gone])  # others may have them
        save_setting(connection, CHECK_BLOBS, None)

    await store.write(job, durable=True)


async def _those_there(remote: SyncRemote, blob_ids: list[str]) -> list[str]:
    """Those of these which the provider lists; none if it cannot: being sent all of them does no harm.

    It is asked for what is known here, and not for its list, which it could go on with for ever.
    """
    there: list[str] = []
    for first in range(0, len(blob_ids), MAX_BATCH_BLOBS):
        try:
            there += await remote.find_listed(blob_ids[first : first + MAX_BATCH_BLOBS])
        except Refused as error:
            if error.status != 404:
                raise
            return []
    return there
