"""What arrived, as programs read it: the original, and what covers each part."""

from __future__ import annotations

from pathlib import Path

from leap.mail.account import Account
from leap.mail.outgoing.header_protection import protect
from tests.mail.incoming.test_layers import (
    FOOTER,
    HEADER,
    HTML,
    brief,
    encrypted,
    multipart,
)
from tests.mail.incoming.test_opening import OUTER, Ring, opened, sealed
from tests.mail.travel import FakeProvider, mail, open_person, own_key


async def test_a_message_tells_what_covers_each_part_and_gives_what_came(
    provider: FakeProvider, tmp_path: Path
) -> None:
    bob = await open_person(provider, tmp_path / "bob", "bob")
    provider.certificates["alice@example.test"] = own_key("alice").certificate.binary
    lists = HEADER + multipart(encrypted(), FOOTER)
    for raw in (lists, sealed(protect(mail(), OUTER)), mail()):
        provider.deliver(bob.address, raw)
    await bob.incoming.process_once()
    account = Account(bob.account)
    [message] = [
        one async for one in await account.collection("INBOX") if await one.subject() == "s"
    ]
    assert await message.original() == lists
    parts = {part.number: part.security for part in await message.parts()}
    assert {n: (p.encryption, len(p.signatures)) for n, p in parts.items()} == {
        "1.1": ("end-to-end", 1),
        "2": ("none", 0),
    }
    ring = Ring(await bob.keys.own_keys(), [own_key("alice").certificate])
    again = await opened(await message.original() or b"", ring)
    assert brief(again)[2] == [("1", "end-to-end", ["good"])]
    levels = {s.level for p in parts.values() for s in p.signatures}
    assert levels == {"provider-trust"}
    await bob.close()


async def test_html_of_an_encrypted_mail_is_flagged(provider: FakeProvider, tmp_path: Path) -> None:
    bob = await open_person(provider, tmp_path / "bob", "bob")
    provider.deliver(bob.address, sealed(HTML))
    await bob.incoming.process_once()
    [message] = [one async for one in await Account(bob.account).collection("INBOX")]
    assert (await message.security()).html
    assert await message.header("X-Leap-Html") == "encrypted"
    await bob.close()
