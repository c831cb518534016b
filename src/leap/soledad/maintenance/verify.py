"""Verify: is the store whole here, and does the provider still hold what was synced.

It changes nothing, unless `repair` is asked for (`mend`). It works beside everything else: in slices, in the store's
reader threads, on snapshots.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Protocol

from leap.soledad.errors import ProviderLies, SoledadError, StoreFull
from leap.soledad.maintenance.blob_check import check_blobs
from leap.soledad.maintenance.content_check import check_documents, check_log, check_rows
from leap.soledad.maintenance.database_check import check_database, check_projections
from leap.soledad.maintenance.findings import Progress, Report, no_progress
from leap.soledad.maintenance.index_check import check_indexes
from leap.soledad.maintenance.mend import MendingRemote, mend
from leap.soledad.maintenance.provider_check import (
    CheckedRemote,
    check_blobs_at_provider,
    check_log_at_provider,
)
from leap.soledad.store import Soledad

SAMPLE = 50  # blobs fetched and hashed when nobody says how many


class VerifiedRemote(CheckedRemote, MendingRemote, Protocol):
    """What a provider is asked: a `ProviderClient` answers it."""


async def verify(
    store: Soledad,
    *,
    remote: VerifiedRemote | None = None,
    sync: Callable[[], Awaitable[object]] | None = None,
    sample: int = SAMPLE,
    repair: bool = False,
    progress: Progress = no_progress,
    choose: random.Random | None = None,
) -> Report:
    """Checks the store, and the provider if one is given; `sync` is a sync of the store's engine.

    A provider that cannot be asked is no finding: `Report.provider` says why. Raises StoreFull.
    """
    report = Report()
    if await check_database(store, report, progress):
        await check_documents(store, report, progress)
        await check_rows(store, report, progress)
        await check_log(store, report, progress)
        await check_blobs(store, report, progress)
        await check_indexes(store, report, progress)
        await check_projections(store, report, progress)
    else:
        return report  # what a damaged file gives out proves nothing about the rest
    if remote is not None and sync is not None and store.material is not None:
        chance = choose or random.Random()  # noqa: S311 - which blobs are looked at is no secret
        try:
            await _check_provider(store, remote, sync, report, progress, sample, chance)
            report.provider = "checked"
        except StoreFull:
            raise
        except SoledadError as error:  # it cannot be reached, refuses, or sync waits for a person
            report.provider = str(error)
    if repair:
        await mend(store, report, remote if report.provider == "checked" else None)
    return report


async def _check_provider(
    store: Soledad,
    remote: VerifiedRemote,
    sync: Callable[[], Awaitable[object]],
    report: Report,
    progress: Progress,
    sample: int,
    choose: random.Random,
) -> None:
    try:
        await check_log_at_provider(store, remote, sync, report, progress)
    except ProviderLies as error:
        report.add(
            "item-forged",
            "log",
            f"What the provider shows of the log cannot be true: {error};"
            " `bitmask sync status` says how to go on.",
        )
    await check_blobs_at_provider(store, remote, report, progress, sample=sample, choose=choose)
