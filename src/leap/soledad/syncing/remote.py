"""What sync asks of a provider: the part of `ProviderClient` that it uses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from leap.soledad.remote.events import Event
from leap.soledad.wire import (
    Blob,
    BlobsFound,
    BlobsListed,
    CommitReply,
    CommitRequest,
    PullPage,
    PullRequest,
    SecretsReply,
    StageReply,
    StageRequest,
)


class SyncRemote(Protocol):
    """All methods may raise Unreachable and Refused."""

    async def pull(self, request: PullRequest) -> PullPage: ...
    async def stage(self, request: StageRequest) -> StageReply: ...
    async def commit(self, request: CommitRequest) -> CommitReply:
        """Raises HeadMoved."""

    async def put_blobs(self, blobs: Sequence[Blob]) -> None: ...
    async def get_blobs(self, blob_ids: Sequence[str]) -> BlobsFound: ...
    async def list_blobs(self, after: str = "") -> BlobsListed: ...
    async def delete_blobs(self, blob_ids: Sequence[str]) -> None: ...
    async def secrets(self) -> SecretsReply: ...
    def events(self) -> AsyncIterator[Event]: ...
