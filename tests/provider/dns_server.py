"""A DNS server on loopback with a zone in memory, for the resolver that asks the network."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

TTL = 600


class DnsServer(asyncio.DatagramProtocol):
    """`records`: by name, (type, text as in a zone file). `failing`: names that get SERVFAIL; `silent`: no reply,
    or none for names that end with `silent_below`.
    """

    def __init__(self, records: Mapping[str, Sequence[tuple[str, str]]]) -> None:
        self.records = dict(records)
        self.failing: set[str] = set()
        self.silent = False
        self.silent_below = ""
        self.ttl = TTL
        self.asked: list[tuple[str, str]] = []
        self.address = ("", 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.address = transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        if self.silent or (self.silent_below and name.endswith(self.silent_below)):
            return
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        if name in self.failing:
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif name not in self.records:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        else:
            texts = [text for one, text in self.records[name] if one == kind]
            if texts:
                reply.answer.append(
                    dns.rrset.from_text(question.name, self.ttl, "IN", kind, *texts)
                )
        self._transport.sendto(reply.to_wire(), addr)


@contextlib.asynccontextmanager
async def dns_server(**records: Sequence[tuple[str, str]]) -> AsyncIterator[DnsServer]:
    """A running server; "_" in names of records stands for "."."""
    zone = {name.replace("_", "."): found for name, found in records.items()}
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: DnsServer(zone), local_addr=("127.0.0.1", 0)
    )
    try:
        yield server
    finally:
        transport.close()
