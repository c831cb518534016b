"""Logging in to a submission server: by SCRAM-SHA-256 where it is offered, which sends no token, else by PLAIN."""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
from collections.abc import Callable

from aiosmtplib import SMTP, SMTPAuthenticationError, SMTPResponse

from leap.mail.smtp.auth import BadExchange
from leap.mail.smtp.scram import NAME, ScramClient

_CHALLENGE, _LOGGED_IN = 334, 235  # RFC 4954 4


async def log_in(
    client: SMTP, user: str, token: str, random: Callable[[int], bytes] = os.urandom
) -> None:
    """Raises SMTPAuthenticationError when the server refuses, and BadExchange when it cannot prove itself."""
    if NAME.lower() not in [one.lower() for one in client.server_auth_methods]:
        await client.auth_plain(user, token)
        return
    exchange = ScramClient(user, token, random)
    first = await _say(client, b"AUTH", NAME.encode(), _encoded(exchange.first()))
    final = await asyncio.to_thread(exchange.final, _challenge(first))
    exchange.check(_challenge(await _say(client, _encoded(final))))
    # An empty line is the last answer (RFC 4954 4).
    done = await _say(client, b"")
    if done.code != _LOGGED_IN:
        raise SMTPAuthenticationError(done.code, done.message)


async def _say(client: SMTP, *words: bytes) -> SMTPResponse:
    return await client.execute_command(*words)


def _encoded(message: bytes) -> bytes:
    return base64.b64encode(message)


def _challenge(response: SMTPResponse) -> bytes:
    if response.code != _CHALLENGE:
        raise SMTPAuthenticationError(response.code, response.message)
    try:
        return base64.b64decode(response.message, validate=True)
    except (binascii.Error, ValueError):
        raise BadExchange("The server's challenge is not base64.") from None
