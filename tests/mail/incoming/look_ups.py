"""Opening one mail as the workshop does: what it asks for is looked up, then it is opened again."""

from __future__ import annotations

from leap.mail.incoming.opening import Opened, open_mail
from leap.mail.incoming.senders import Senders, SendersWanted, SignerKeys, look_up
from tests.mail.travel import DOMAIN, NOW


async def open_with_look_ups(raw: bytes, keys: SignerKeys) -> Opened:
    own, senders = await keys.own_keys(), Senders()
    while True:
        try:
            return open_mail(raw, own, senders, own_domain=DOMAIN, now=NOW)
        except SendersWanted as wanted:
            senders = await look_up(senders, [wanted], keys, DOMAIN)
