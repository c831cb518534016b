"""What anyone may ask: the provider's description, keys by address, and the Web Key Directory."""

from __future__ import annotations

import msgspec
from aiohttp import web

from leap.keymanager.wkd_names import HASH_LENGTH, WELL_KNOWN
from leap.provider.errors import BadRequest, NotFound
from leap.provider.http.bodies import answer
from leap.provider.provider import Provider
from leap.soledad.wire import API, ProviderInfo

_ANYWHERE = {"Access-Control-Allow-Origin": "*"}  # web mail programs look keys up from a browser


def directory_routes(provider: Provider, info: ProviderInfo) -> list[web.RouteDef]:
    """All of them; none needs a token."""
    description = msgspec.json.encode(info)

    async def describe(request: web.Request) -> web.StreamResponse:
        return web.Response(body=description, content_type="application/json", headers=_ANYWHERE)

    async def certificate(request: web.Request) -> web.StreamResponse:
        address = request.query.get("address")
        if not address or len(address) > 320:
            raise BadRequest("ask with ?address=")
        return answer(await provider.directory.find(address))

    async def wkd_key(request: web.Request) -> web.StreamResponse:
        _check_domain(request)
        hashed = request.match_info["hash"]
        if len(hashed) != HASH_LENGTH:
            raise NotFound("no key is published for this address")
        found = await provider.directory.find_by_wkd_hash(hashed)
        # draft-koch-openpgp-webkey-service 3.1: binary, application/octet-stream
        return web.Response(body=found, content_type="application/octet-stream", headers=_ANYWHERE)

    async def wkd_policy(request: web.Request) -> web.StreamResponse:
        _check_domain(request)
        return web.Response(body=b"", content_type="text/plain", headers=_ANYWHERE)

    def _check_domain(request: web.Request) -> None:
        domain = request.match_info.get("domain", provider.domain)
        if domain.lower() != provider.domain:
            raise NotFound("this directory is of another domain")

    return [
        web.get("/provider", describe),
        web.get(API + "/certificate", certificate),
        web.get(WELL_KNOWN + "/hu/{hash}", wkd_key),
        web.get(WELL_KNOWN + "/policy", wkd_policy),
        web.get(WELL_KNOWN + "/{domain}/hu/{hash}", wkd_key),
        web.get(WELL_KNOWN + "/{domain}/policy", wkd_policy),
    ]
