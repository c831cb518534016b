"""Where an account looks for keys on the net, as its person chose: Web Key Directories, a keyserver, through a proxy.

Invariants:
* The choice lies in the account's encrypted store on this device; it is not synced, as a proxy is a device's own.
* A change counts for the next look-up: what was made for the former choice is closed.
* A choice that cannot be read is not guessed: then nobody on the net is asked, and every look-up fails with the reason.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from leap.keymanager.discovery import Found, Source
from leap.keymanager.discovery.answers import Remembering, kept_answers
from leap.keymanager.discovery.https import Https
from leap.keymanager.discovery.mail_keys import MailKeys
from leap.keymanager.discovery.proxy import SocksProxy
from leap.keymanager.discovery.vks import VksSource, keyserver_url
from leap.keymanager.discovery.wkd import WkdSource
from leap.keymanager.errors import LookupFailed
from leap.keymanager.kept_times import SettingStore
from leap.keymanager.keyring import Keyring

SETTING = "bitmask.key-sources"


class BadSetting(ValueError):
    """What somebody wants to set makes no sense; the text is a sentence."""


class Choice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`vks`: the keyserver's URL, "" for none; `proxy`: of SOCKS, "" for none."""

    wkd: bool = True
    vks: str = ""
    proxy: str = ""

    def __repr__(self) -> str:
        return f"<Choice of key sources: wkd={self.wkd}, vks={bool(self.vks)}, proxy={bool(self.proxy)}>"


class MakeHttps(Protocol):
    """How servers are reached; `Https` itself, or a test's."""

    def __call__(self, *, proxy: SocksProxy | None, outside_only: bool = False) -> Https: ...


def _https(*, proxy: SocksProxy | None, outside_only: bool = False) -> Https:
    return Https(proxy=proxy, outside_only=outside_only)


class KeySources:
    """The sources of one account. `sources` is a list that stays the same object, and has what is chosen now."""

    def __init__(self, store: SettingStore, *, make_https: MakeHttps = _https) -> None:
        self._store = store
        self._make_https = make_https
        self._kept = kept_answers(store)
        self._mail_keys: MailKeys | None = None
        self._closing: list[Callable[[], Awaitable[None]]] = []
        self._is_unread = False
        self.choice = Choice()
        self.sources: list[Source] = [_Unread()]

    def mail_keys(self, ring: Keyring, own_address: str) -> MailKeys:
        """What takes in keys of mail, and the last source; to be called before `load`."""
        self._mail_keys = MailKeys(ring, self._store, None, own_address=own_address)
        return self._mail_keys

    async def load(self) -> None:
        """Reads the choice and makes its sources."""
        kept = await self._store.setting(SETTING)
        try:
            choice = msgspec.json.decode(kept or b"{}", type=Choice)
            _checked(choice)
        except (msgspec.DecodeError, BadSetting, TypeError):
            self.sources[:] = [_Unread()]
            self._is_unread = True
            return
        await self._use(choice)

    async def choose(
        self, *, wkd: bool | None = None, vks: str | None = None, proxy: str | None = None
    ) -> Choice:
        """Changes what is given, keeps it, and answers what holds now; "off" is none. Raises BadSetting."""
        if self._is_unread and None in (wkd, vks, proxy):
            raise BadSetting(
                "what was chosen before cannot be read: say all of --wkd, --vks, --proxy"
            )
        old = self.choice
        changed = _checked(
            Choice(
                wkd=old.wkd if wkd is None else wkd,
                vks=old.vks if vks is None else _unless_off(vks),
                proxy=old.proxy if proxy is None else _unless_off(proxy),
            )
        )
        encoded = msgspec.json.encode(changed)
        await self._store.transact(lambda tx: tx.set_setting(SETTING, encoded), durable=True)
        await self._kept.clear()  # what nobody knew may be known where is asked now
        await self._use(changed)
        return changed

    async def close(self) -> None:
        """Ends look-ups under way and closes connections."""
        closing, self._closing = self._closing, []
        for close in closing:
            await close()

    async def _use(self, choice: Choice) -> None:
        await self.close()
        proxy = SocksProxy.parse(choice.proxy) if choice.proxy else None
        https = self._make_https(proxy=proxy)
        outside = self._make_https(proxy=proxy, outside_only=True)
        asked: list[Source] = []
        if choice.wkd:
            asked.append(WkdSource(https))
        if choice.vks:
            asked.append(VksSource(https, choice.vks))
        remembering = [Remembering(source, self._kept) for source in asked]
        self.sources[:] = remembering
        if self._mail_keys is not None:
            self._mail_keys.https = outside
            self.sources.append(self._mail_keys)
        self._closing = [*(source.close for source in remembering), https.close, outside.close]
        self._is_unread = False
        self.choice = choice


class _Unread:
    """Stands for sources whose choice is not known (yet): nothing is known then, which is not "none"."""

    name = "unread"

    async def find(self, address: str) -> Found | None:
        raise LookupFailed(
            "where to look for keys cannot be read; set it anew by `bitmask keys sources` with --wkd, --vks and --proxy"
        )


def _checked(choice: Choice) -> Choice:
    try:
        if choice.proxy:
            SocksProxy.parse(choice.proxy)
        vks = keyserver_url(choice.vks, proxied=bool(choice.proxy)) if choice.vks else ""
    except ValueError as error:
        raise BadSetting(str(error)) from error
    return msgspec.structs.replace(choice, vks=vks)


def _unless_off(text: str) -> str:
    return "" if text.strip().lower() in ("", "off", "none") else text.strip()
