"""Our key manager asks our provider as any other domain: what one publishes, the other finds."""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.parse import urlsplit

from leap.keymanager.discovery.https import Https
from leap.keymanager.discovery.wkd import WkdSource
from leap.keymanager.openpgp import generate
from leap.keymanager.trust import Level
from tests.keymanager.conftest import BIRTH
from tests.provider.world import DOMAIN, account, opened, served

from .net import no_such_name


async def test_keys_at_our_provider_are_found_and_missing_ones_are_none(tmp_path: Path) -> None:
    carol = f"carol@{DOMAIN}"
    key = generate(carol, now=lambda: BIRTH).certificate
    async with opened(tmp_path / "provider") as provider, served(provider, tmp_path) as there:
        await provider.directory.put(await account(provider, "carol"), carol, key.binary)
        port = urlsplit(there.url).port or 443

        async def resolve(host: str, _: int) -> list[tuple[str, int]]:
            if host != DOMAIN:
                raise no_such_name()
            return [("127.0.0.1", port)]

        trust = ssl.create_default_context(cafile=str(there.ca_file))
        https = Https(resolve=resolve, trust=lambda: trust)
        wkd = WkdSource(https, is_public=lambda name: True)
        found = await wkd.find(carol)
        assert found is not None
        assert (found.certificate, found.level) == (key, Level.PROVIDER_TRUST)
        for nobody in ("dave", "dora"):  # a domain with a directory is asked about each
            assert await wkd.find(f"{nobody}@{DOMAIN}") is None
        await https.close()
        policies = [line for line in there.requests if line.endswith("/policy")]
        assert len(policies) == 2
