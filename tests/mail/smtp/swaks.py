"""swaks (Debian's) as an SMTP and LMTP client."""

from __future__ import annotations

import asyncio

import pytest

from leap.mail.smtp import SmtpServer
from tests.conftest import IN_CI, needs_program


async def swaks(server: SmtpServer, *options: str) -> tuple[int, str]:
    """Its exit status and what it and the server said."""
    program = needs_program("swaks")
    address = server.address
    where = (
        ["--socket", address]
        if isinstance(address, str)
        else ["--server", f"{address[0]}:{address[1]}"]
    )
    process = await asyncio.create_subprocess_exec(
        program,
        *where,
        *("--ehlo", "client.test", "--timeout", "20"),
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    said = output.decode(errors="replace")
    if "requires Net::SSLeay" in said and not IN_CI:
        pytest.skip("swaks has no TLS (libnet-ssleay-perl; tools/setup-peers installs it)")
    return process.returncode, said
