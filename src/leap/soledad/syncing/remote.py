"""What sync asks of a provider: the part of `ProviderClient` that it uses."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence
from pathlib import Path
from typing import Protocol

from leap.soledad.remote.events import Event
from leap.soledad.wire import (
    Blob,
    BlobsFound,
    BlobsListed,
    CommitReply,
    CommitRequest,
    ListedBlob,
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
    async def list_blobs(self, after: str = "") -> BlobsListed: ...
    async def find_listed(
        self, blob_ids: Sequence[str], *, renew: bool = False
    ) -> dict[str, ListedBlob]: ...
    async def delete_blobs(self, blob_ids: Sequence[str], *, min_age: int = 0) -> None: ...
    async def put_blob_file(self, blob_id: str, path: Path, sha256: bytes) -> None: ...
    async def get_blob_range(self, blob_id: str, start: int, length: int) -> bytes: ...
    def receive_blob(self, blob_id: str, start: int, limit: int) -> AsyncIterator[bytes]: ...
    async def secrets(self) -> SecretsReply: ...
    def events(self) -> AsyncIterator[Event]: ...
