"""What a device asks of its provider, one method for each request of docs/formats/http.md.

Invariants:
* What comes back is checked for form only. Sealed bytes, heads and keysets are verified by who asked for them.
* A token is believed only after the provider proved that it holds the account's verifier (SRP's M2).
* Every failure is Unreachable or Refused (or a subclass), or ImpostorProvider at log-in.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

import msgspec

from leap.soledad.errors import BadReply, Refused, SoledadError
from leap.soledad.frames import FRAMES_TYPE, FrameReader, frame
from leap.soledad.login import SrpClient, identity_of
from leap.soledad.remote import large_blobs
from leap.soledad.remote.events import Event, EventParser
from leap.soledad.remote.transport import MAX_REPLY, PATIENT, Patience, Transport
from leap.soledad.secrets import PassphraseKeys
from leap.soledad.wire import (
    API,
    MAX_BATCH_BLOBS,
    MAX_BATCH_BYTES,
    MAX_BLOB_BYTES,
    MAX_MESSAGE_BYTES,
    AliasesReply,
    Blob,
    BlobsDelete,
    BlobsFound,
    BlobsGet,
    BlobsList,
    BlobsListed,
    BlobsPut,
    CertificatePut,
    CertificateReply,
    CommitReply,
    CommitRequest,
    InboxClaim,
    InboxIds,
    InboxItems,
    KdfParams,
    KeysetPut,
    ListedBlob,
    LoginChallenge,
    LoginProof,
    LoginReply,
    LoginStart,
    ProviderInfo,
    PullPage,
    PullRequest,
    SecretsReply,
    Signup,
    StageReply,
    StageRequest,
    WireError,
    decode,
    encode,
)

# A batch may be one single blob or mail above the batch limit; sealing adds at most an eighth.
MAX_BATCH_REPLY = max(MAX_BATCH_BYTES, MAX_MESSAGE_BYTES) * 9 // 8 + 1024 * 1024

Identity = Callable[[KdfParams], PassphraseKeys]
T = TypeVar("T")
P = ParamSpec("P")
_PIECE = 64 * 1024
_END_SECONDS = 2.0  # so long the end of a reply may come after its last page


class ProviderClient:
    """One HTTPS session with one provider. Use it as an async context manager, or close it."""

    def __init__(
        self,
        api_url: str,
        *,
        ca_file: Path | None = None,
        ca_pem: bytes | None = None,
        token: str | None = None,
        patience: Patience = PATIENT,
    ) -> None:
        """`ca_file` or `ca_pem` names the one authority to trust instead of the system's; `patience` the time limits.

        Raises Unreachable for an URL that is not https, BadCertificate for an unusable authority.
        """
        self._http = Transport(
            api_url, ca_file=ca_file, ca_pem=ca_pem, token=token, patience=patience
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def api_url(self) -> str:
        """The provider's origin, like https://localhost:4430."""
        return self._http.origin

    @property
    def ca_pem(self) -> bytes | None:
        """The one authority trusted, or None for the system's."""
        return self._http.ca_pem

    @property
    def token(self) -> str | None:
        """What proves this device to the provider; None before log-in and after log-out."""
        return self._http.token

    @token.setter
    def token(self, token: str | None) -> None:
        self._http.token = token

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()

    # --- accounts -----------------------------------------------------------------------------------

    async def info(self) -> ProviderInfo:
        """What the provider says of itself to anyone."""
        reply = await self._http.request("GET", "/provider", limit=64 * 1024)
        try:
            return msgspec.json.decode(reply.body, type=ProviderInfo)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise BadReply(
                f"{self._http.host} does not describe itself as a provider does"
            ) from error

    async def signup(self, signup: Signup) -> None:
        """Make an account. Refused: address-taken, signup-closed, bad-request."""
        await self._tell("signup", signup, repeatable=False)

    async def kdf_of(self, address: str, *, with_recovery: bool = False) -> KdfParams:
        """How an address's passphrase is stretched. A provider makes something up for unknown addresses."""
        login = SrpClient(identity_of(address, with_recovery=with_recovery))
        return (await self._start(address, login, with_recovery)).kdf

    async def log_in(
        self,
        address: str,
        auth_key: bytes,
        device_id: str,
        device_name: str,
        with_recovery: bool = False,
    ) -> str:
        """Log in with a key derived before; returns the token and keeps it for what follows.

        Raises AuthFailed for a wrong key or address, ImpostorProvider if the provider cannot prove itself.
        """
        keys = PassphraseKeys(auth_key, b"")
        await self.log_in_with(address, lambda _: keys, device_id, device_name, with_recovery)
        assert self.token is not None
        return self.token

    async def log_in_with(
        self,
        address: str,
        derive: Identity,
        device_id: str,
        device_name: str,
        with_recovery: bool = False,
    ) -> PassphraseKeys:
        """As `log_in`, but `derive` (called in a thread) makes the keys once the provider has said how."""
        login = SrpClient(identity_of(address, with_recovery=with_recovery))
        challenge = await self._start(address, login, with_recovery)
        keys = await asyncio.to_thread(derive, challenge.kdf)
        proof = await asyncio.to_thread(
            login.respond, challenge.srp_salt, challenge.srp_b, keys.auth_key
        )
        body = LoginProof(
            session=challenge.session, srp_m1=proof, device_id=device_id, device_name=device_name
        )
        reply = await self._post("login/finish", body, LoginReply, repeatable=False)
        login.check(reply.srp_m2)
        self._http.token = reply.token
        return keys

    async def log_out(self) -> None:
        """Have the token withdrawn; it is forgotten here even if the provider cannot be reached."""
        try:
            if self._http.token is not None:
                await self._http.request("POST", f"{API}/logout", b"")
        finally:
            self._http.token = None

    async def secrets(self) -> SecretsReply:
        """The account's wrapped secrets and its keyset."""
        return self._decode((await self._http.request("GET", f"{API}/secrets")).body, SecretsReply)

    async def put_keyset(self, put: KeysetPut) -> None:
        """Replace the keyset; raises KeysetMoved when another device was first."""
        await self._http.request("PUT", f"{API}/keyset", encode(put))

    # --- the log ------------------------------------------------------------------------------------

    async def pull(self, request: PullRequest) -> PullPage:
        """Items after a seq, and the head."""
        return await self._post("pull", request, PullPage, limit=MAX_BATCH_REPLY)

    async def pull_pages(self, request: PullRequest) -> AsyncGenerator[PullPage]:
        """Items after a seq, page after page in one reply; one page if the provider does not stream.

        Ends behind a page which says that there is no more, or after any other one: then ask again. A reply that
        is cut raises Unreachable (BadReply in the middle of a frame) behind the last whole page.
        """
        body = encode(msgspec.structs.replace(request, stream=True))
        whole: list[bytes] = []
        size = 0
        reader = FrameReader()
        async with aclosing(self._http.pieces(f"{API}/pull", body)) as pieces:
            async for kind, piece in pieces:
                if kind != FRAMES_TYPE:
                    whole.append(piece)
                    size += len(piece)
                    if size > MAX_BATCH_REPLY:
                        raise BadReply(f"{self._http.host} answered with more than was asked for")
                    continue
                for data in self._read(reader.feed, piece):
                    page = self._decode(data, PullPage)
                    yield page
                    if not page.more:
                        # The end of the reply comes at once, and the connection is kept; or it does not matter.
                        with contextlib.suppress(TimeoutError, SoledadError):
                            async with asyncio.timeout(_END_SECONDS):
                                await anext(pieces, None)
                        return
        if kind == FRAMES_TYPE:
            self._read(reader.end)
        else:
            yield self._decode(b"".join(whole), PullPage)

    async def stage(self, request: StageRequest) -> StageReply:
        """Send items ahead of a commit."""
        return await self._post("stage", request, StageReply)

    async def stage_all(self, requests: AsyncIterable[StageRequest]) -> StageReply:
        """Send items ahead of a commit, in one request. What arrived of it before a cut counts."""

        async def frames() -> AsyncIterator[bytes]:
            async for request in requests:
                data = frame(encode(request))
                for start in range(0, len(data), _PIECE):  # so that a slow line is heard of in time
                    yield data[start : start + _PIECE]

        reply = await self._http.request(
            "POST", f"{API}/stage", frames(), headers={"Content-Type": FRAMES_TYPE}
        )
        return self._decode(reply.body, StageReply)

    async def commit(self, request: CommitRequest) -> CommitReply:
        """Compare and swap the head; raises HeadMoved when another device was first."""
        return await self._post("commit", request, CommitReply)

    # --- blobs --------------------------------------------------------------------------------------

    async def put_blobs(self, blobs: Sequence[Blob]) -> None:
        """Store blobs durably, in as many requests as it takes. Refused: blob-differs, storage-full, too-large."""
        batch: list[Blob] = []
        size = 0
        for blob in blobs:
            if len(blob.sealed) > MAX_BATCH_BYTES:
                await self._put_large(blob)
                continue
            if len(batch) == MAX_BATCH_BLOBS or size + len(blob.sealed) > MAX_BATCH_BYTES:
                await self._tell("blobs/put", BlobsPut(blobs=batch))
                batch, size = [], 0
            batch.append(blob)
            size += len(blob.sealed)
        if batch:
            await self._tell("blobs/put", BlobsPut(blobs=batch))

    async def get_blobs(self, blob_ids: Sequence[str]) -> BlobsFound:
        """As many of these (500 at most) as fit one reply, in the order asked, and which do not exist."""
        if not blob_ids:
            return BlobsFound(blobs=[], missing=[], more=False)
        found = await self._post(
            "blobs/get", BlobsGet(blob_ids=list(blob_ids)), BlobsFound, limit=MAX_BATCH_REPLY
        )
        given = [blob.blob_id for blob in found.blobs] + found.missing
        if len(set(given)) != len(given) or not set(given) <= set(blob_ids):
            raise BadReply(f"{self._http.host} gave other blobs than were asked for")
        if not given:  # or a caller that asks for the rest would ask for ever
            raise BadReply(f"{self._http.host} gave none of the blobs that were asked for")
        return found

    async def get_blob(self, blob_id: str, *, limit: int = MAX_BLOB_BYTES) -> bytes:
        """One blob's sealed bytes, of at most `limit` octets. Refused: not-found."""
        return (await self._http.request("GET", f"{API}/blobs/{blob_id}", limit=limit)).body

    async def put_blob_file(self, blob_id: str, path: Path, sha256: bytes) -> None:
        """Store a file's octets as a blob, durably; after a cut it goes on. Refused as `put_blobs`, bad-digest."""
        await large_blobs.send_file(self._http, blob_id, path, sha256)

    def receive_blob(self, blob_id: str, start: int, limit: int) -> AsyncIterator[bytes]:
        """One blob's sealed bytes from `start`, as they come, `limit` at most. Refused: not-found."""
        return large_blobs.receive(self._http, blob_id, start, limit)

    async def get_blob_range(self, blob_id: str, start: int, length: int) -> bytes:
        """Up to `length` octets of the sealed bytes from `start` (RFC 9110 section 14); fewer at the end."""
        headers = {"Range": f"bytes={start}-{start + length - 1}"}
        try:
            reply = await self._http.request(
                "GET", f"{API}/blobs/{blob_id}", headers=headers, limit=length
            )
        except Refused as error:
            if error.status == 416:  # RFC 9110 15.5.17: it ends before `start`
                return b""
            raise
        if reply.status != 206 and not (reply.status == 200 and start == 0):
            raise BadReply(f"{self._http.host} gave another range than was asked for")
        return reply.body

    async def delete_blobs(self, blob_ids: Sequence[str], *, min_age: int = 0) -> None:
        """Delete blobs (put or renewed at least `min_age` seconds ago); those that do not exist are passed over."""
        for first in range(0, len(blob_ids), MAX_BATCH_BLOBS):
            part = list(blob_ids[first : first + MAX_BATCH_BLOBS])
            await self._tell("blobs/delete", BlobsDelete(blob_ids=part, min_age=min_age))

    async def list_blobs(self, after: str = "") -> BlobsListed:
        """What the provider says it stores, ids above `after` in order; ask again from the last one while `more`."""
        return await self._list(BlobsList(after=after))

    async def find_listed(
        self, blob_ids: Sequence[str], *, renew: bool = False
    ) -> dict[str, ListedBlob]:
        """Those of these (500 at most) which the provider says it stores; `renew` makes them as new."""
        if not blob_ids:
            return {}
        listed = await self._list(BlobsList(only=list(blob_ids), renew=renew))
        found = {blob.blob_id: blob for blob in listed.blobs}
        if not found.keys() <= set(blob_ids):
            raise BadReply(f"{self._http.host} lists other blobs than were asked for")
        return found

    async def _list(self, request: BlobsList) -> BlobsListed:
        listed = await self._post("blobs/list", request, BlobsListed)
        after = request.after
        ids = [after, *(blob.blob_id for blob in listed.blobs)]
        if any(one >= other for one, other in pairwise(ids)) or (listed.more and not listed.blobs):
            raise BadReply(f"{self._http.host} lists blobs in no order")  # it would never end
        return listed

    # --- inbox --------------------------------------------------------------------------------------

    async def claim_inbox(self, claim: InboxClaim) -> InboxItems:
        """Lease the oldest mails that wait."""
        return await self._post("inbox/claim", claim, InboxItems, limit=MAX_BATCH_REPLY)

    async def ack_inbox(self, inbox_ids: Sequence[str]) -> None:
        """These are stored and synced: the provider may forget them."""
        await self._tell("inbox/ack", InboxIds(inbox_ids=list(inbox_ids)))

    async def release_inbox(self, inbox_ids: Sequence[str]) -> None:
        """Give leases back before they end."""
        await self._tell("inbox/release", InboxIds(inbox_ids=list(inbox_ids)))

    async def aliases(self) -> list[str]:
        """The addresses the account has beside its own; none at a provider which knows no aliases."""
        try:
            reply = await self._http.request("GET", f"{API}/aliases", limit=64 * 1024)
        except Refused as error:
            if error.status == 404:
                return []
            raise
        return self._decode(reply.body, AliasesReply).addresses

    # --- directory ----------------------------------------------------------------------------------

    async def put_certificate(self, certificate: bytes) -> None:
        """Publish this account's OpenPGP certificate."""
        body = encode(CertificatePut(certificate=certificate))
        await self._http.request("PUT", f"{API}/certificate", body)

    async def find_certificate(self, address: str) -> bytes | None:
        """The OpenPGP certificate of one of the provider's users, or None if it has none or no such user."""
        try:
            reply = await self._http.request(
                "GET", f"{API}/certificate", params={"address": address}, limit=1024 * 1024
            )
        except Refused as error:
            if error.status == 404:
                return None
            raise
        found = self._decode(reply.body, CertificateReply)
        if found.address.lower() != address.lower():
            raise BadReply(f"{self._http.host} gave the certificate of another address")
        return found.certificate

    # --- notices ------------------------------------------------------------------------------------

    async def events(self) -> AsyncIterator[Event]:
        """Push notices as they come.

        Ends only by raising Unreachable or Refused; connecting again is the caller's.
        """
        parser = EventParser()
        async for piece in self._http.stream(f"{API}/events"):
            for event in parser.feed(piece):
                yield event

    # ------------------------------------------------------------------------------------------------

    async def _start(self, address: str, login: SrpClient, with_recovery: bool) -> LoginChallenge:
        body = LoginStart(
            identity=address.lower(),
            srp_a=await asyncio.to_thread(login.start),
            with_recovery=with_recovery,
        )
        return await self._post("login/start", body, LoginChallenge)

    async def _put_large(self, blob: Blob) -> None:
        headers = {"Content-Type": "application/octet-stream"}
        await self._http.request("PUT", f"{API}/blobs/{blob.blob_id}", blob.sealed, headers=headers)

    async def _post(
        self,
        path: str,
        body: object,
        kind: type[T],
        *,
        limit: int = MAX_REPLY,
        repeatable: bool = True,
    ) -> T:
        data = encode(body)
        reply = await self._http.request(
            "POST", f"{API}/{path}", data, limit=limit, repeatable=repeatable
        )
        return self._decode(reply.body, kind)

    async def _tell(self, path: str, body: object, *, repeatable: bool = True) -> None:
        await self._http.request("POST", f"{API}/{path}", encode(body), repeatable=repeatable)

    def _read(self, step: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        try:
            return step(*arguments, **named)
        except WireError as error:
            raise BadReply(f"{self._http.host} answered with frames that are broken") from error

    def _decode(self, data: bytes, kind: type[T]) -> T:
        try:
            return decode(data, kind)
        except WireError as error:
            raise BadReply(
                f"{self._http.host} answered with something that is not in the protocol"
            ) from error
