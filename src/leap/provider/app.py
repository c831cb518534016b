"""The HTTP side put together: every route of a provider in one aiohttp application."""

from __future__ import annotations

from aiohttp import web

from leap.provider.http.blob_routes import blob_routes
from leap.provider.http.bodies import refusals
from leap.provider.http.directory_routes import directory_routes
from leap.provider.http.endpoints import value_routes
from leap.provider.http.event_routes import KEEP_ALIVE, event_routes
from leap.provider.http.stream_routes import stream_routes
from leap.provider.provider import Provider
from leap.soledad.wire import ProviderInfo

# Every endpoint reads its body itself, up to a limit of its own (`http.bodies`).
_NO_LIMIT_HERE = 0


def create_app(
    provider: Provider, info: ProviderInfo, *, keep_alive: float = KEEP_ALIVE
) -> web.Application:
    """The application, to be served over TLS; it does not close the provider."""
    app = web.Application(middlewares=[refusals], client_max_size=_NO_LIMIT_HERE)
    app.on_response_prepare.append(_no_versions)
    app.add_routes(value_routes(provider))
    app.add_routes(stream_routes(provider))
    app.add_routes(event_routes(provider, keep_alive=keep_alive))
    app.add_routes(directory_routes(provider, info))
    app.add_routes(blob_routes(provider))
    return app


async def _no_versions(request: web.Request, reply: web.StreamResponse) -> None:
    """Which version of which library answers is nobody's business."""
    reply.headers["Server"] = "leap-provider"
