"""What sync asks of a provider: the part of `ProviderClient` that it uses."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence
from typing import Protocol

from leap.soledad.remote.events import Event
from leap.soledad.wire import (
    Blob,
    BlobsFound,
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
    def pull_pages(self, request: PullRequest) -> AsyncGenerator[PullPage]:
        """Pages from one request, as many as the provider gives."""
        ...

    async def stage(self, request: StageRequest) -> StageReply: ...
    async def stage_all(self, requests: AsyncIterable[StageRequest]) -> StageReply:
        """All in one request; what arrives before a cut counts."""
        ...

    async def commit(self, request: CommitRequest) -> CommitReply:
        """Raises HeadMoved."""

    async def put_blobs(self, blobs: Sequence[Blob]) -> None: ...
    async def get_blobs(self, blob_ids: Sequence[str]) -> BlobsFound: ...
    async def delete_blobs(self, blob_ids: Sequence[str]) -> None: ...
    async def secrets(self) -> SecretsReply: ...
    def events(self) -> AsyncIterator[Event]: ...
