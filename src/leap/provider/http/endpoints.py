"""The endpoints whose request and reply are values: one line each, all with the same treatment.

A request with a token is made by a `Principal`; an endpoint without one says so in its row.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from aiohttp import web

from leap.provider.errors import Unauthorized
from leap.provider.http.bodies import (
    BLOBS_BODY,
    KEYSET_BODY,
    LOG_BODY,
    SIGNUP_BODY,
    SMALL_BODY,
    Handler,
    answer,
    read_value,
)
from leap.provider.provider import Provider
from leap.provider.tokens import Principal
from leap.soledad.wire import (
    API,
    AliasesReply,
    BlobsDelete,
    BlobsGet,
    BlobsList,
    BlobsPut,
    CertificatePut,
    CommitRequest,
    InboxClaim,
    InboxIds,
    KeysetPut,
    LoginProof,
    LoginStart,
    Signup,
)

T = TypeVar("T")
MAX_TOKEN = 200


async def authorized(provider: Provider, request: web.Request) -> Principal:
    """Who makes this request. Raises Unauthorized."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not 0 < len(token) <= MAX_TOKEN:  # RFC 6750 2.1
        raise Unauthorized
    principal = await provider.tokens.find(token)
    if principal is None:
        raise Unauthorized
    return principal


def value_routes(provider: Provider) -> list[web.RouteDef]:
    """All endpoints of this kind."""
    p = provider

    def known(kind: type[T], limit: int, work: Callable[[Principal, T], Awaitable[Any]]) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            await authorized(provider, request)
            value = await read_value(request, kind, limit)
            # A body takes its time to come; a device that was let out meanwhile changes nothing any more.
            return answer(await work(await authorized(provider, request), value))

        return handler

    def anyone(kind: type[T], limit: int, work: Callable[[str, T], Awaitable[Any]]) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            return answer(await work(request.remote or "", await read_value(request, kind, limit)))

        return handler

    async def sign_up(peer: str, body: Signup) -> None:
        p.signups.start(peer)
        await p.accounts.sign_up(body)

    async def log_out(request: web.Request) -> web.StreamResponse:
        who = await authorized(provider, request)
        await p.log_out(who.token_hash)
        return answer(None)

    async def secrets(request: web.Request) -> web.StreamResponse:
        who = await authorized(provider, request)
        return answer(await p.accounts.secrets(who.account))

    async def aliases(request: web.Request) -> web.StreamResponse:
        who = await authorized(provider, request)
        return answer(AliasesReply(addresses=await p.aliases.of(who.account)))

    return [
        web.get(API + "/aliases", aliases),
        web.post(API + "/signup", anyone(Signup, SIGNUP_BODY, sign_up)),
        web.post(
            API + "/login/start",
            anyone(LoginStart, SMALL_BODY, lambda peer, body: p.login.start(body, peer)),
        ),
        web.post(
            API + "/login/finish",
            anyone(LoginProof, SMALL_BODY, lambda peer, body: p.finish_login(body, peer)),
        ),
        web.post(API + "/logout", log_out),
        web.get(API + "/secrets", secrets),
        web.put(
            API + "/keyset",
            known(KeysetPut, KEYSET_BODY, lambda who, body: p.put_keyset(who.account, body)),
        ),
        web.post(
            API + "/commit",
            known(
                CommitRequest,
                LOG_BODY,
                lambda who, body: p.commit(who.account, body, by=who.token_hash),
            ),
        ),
        web.post(
            API + "/blobs/put",
            known(BlobsPut, BLOBS_BODY, lambda who, body: p.blobs.put(who.account, body.blobs)),
        ),
        web.post(
            API + "/blobs/get",
            known(BlobsGet, SMALL_BODY, lambda who, body: p.blobs.get(who.account, body.blob_ids)),
        ),
        web.post(
            API + "/blobs/delete",
            known(
                BlobsDelete,
                SMALL_BODY,
                lambda who, body: p.blobs.delete(who.account, body.blob_ids, body.min_age),
            ),
        ),
        web.post(
            API + "/blobs/list",
            known(BlobsList, SMALL_BODY, lambda who, body: p.blobs.listed(who.account, body)),
        ),
        web.post(
            API + "/inbox/claim",
            known(
                InboxClaim, SMALL_BODY, lambda who, body: p.claim(who.account, body, who.device_id)
            ),
        ),
        web.post(
            API + "/inbox/ack",
            known(InboxIds, SMALL_BODY, lambda who, body: p.inbox.ack(who.account, body.inbox_ids)),
        ),
        web.post(
            API + "/inbox/release",
            known(InboxIds, SMALL_BODY, lambda who, body: p.release(who.account, body.inbox_ids)),
        ),
        web.put(
            API + "/certificate",
            known(
                CertificatePut,
                # the limit on certificates themselves has a better sentence than a body's
                KEYSET_BODY,
                lambda who, body: p.directory.put(who.account, who.address, body.certificate),
            ),
        ),
    ]
