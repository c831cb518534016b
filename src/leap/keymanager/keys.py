"""The key manager: an account's own keys, keys of others, and finding them. What mail asks, it asks here."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from leap.keymanager.asking import Asked
from leap.keymanager.autocrypt.account import Autocrypt
from leap.keymanager.canonical import canonical
from leap.keymanager.comparison import Comparison, compare, grouped, qr_text
from leap.keymanager.discovery import Directory, Found, Source
from leap.keymanager.documents import DocumentStore
from leap.keymanager.errors import NoSuchKey
from leap.keymanager.explanation import alerts_of
from leap.keymanager.finding import Finding
from leap.keymanager.importing import Imported, import_certificates
from leap.keymanager.key_info import KeyInfo, info_of, info_of_own
from leap.keymanager.keyring import Bound, Keyring
from leap.keymanager.lesson import Lesson
from leap.keymanager.mail_material import KeyMaterial, MailKeys
from leap.keymanager.openpgp import Certificate, SecretKey
from leap.keymanager.own_changes import OwnKeyChanges
from leap.keymanager.own_keys import OwnKeys
from leap.keymanager.publishing import Publishing
from leap.keymanager.trust import Decision, Level, level_named
from leap.keymanager.verifying import Verifying


class KeyManager:
    """One account's keys.

    `directory` is where own keys are published and others' found; None while offline. `remote` are further places
    to look, in order, after the directory; the sequence is read anew for each search.
    """

    def __init__(
        self,
        store: DocumentStore,
        address: str,
        directory: Directory | None = None,
        *,
        remote: Sequence[Source] = (),
        now: Callable[[], float] = time.time,
    ) -> None:
        self.address = canonical(address)
        self.keyring = Keyring(store, now=now)
        self.own = OwnKeys(store, self.address, self.keyring, now=now)
        self.own_changes = OwnKeyChanges(self.own)
        self.autocrypt = Autocrypt(store, self.address, now=now)
        self.finding = Finding(self.own, self.keyring, self.autocrypt, directory, remote, now=now)
        self.verifying = Verifying(
            self.keyring, self.address, self.own_keys, offered=self.finding.offered, now=now
        )
        self.contacts = self.keyring.contacts
        self.publishing = Publishing(store, self.own, directory, now=now)
        self.mail_keys: MailKeys | None = None  # who judges keys attached to mail
        self._now = now

    def close(self) -> None:
        """Stops listening to the store and forgets the secrets it held."""
        self.own.close()
        self.autocrypt.close()
        self.keyring.close()

    async def own_keys(self) -> list[SecretKey]:
        """Every key of this account, the one in use first, then the newest first."""
        return await self.own.keys()

    def on_own_keys(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Calls `callback` when an own key came, or changed, here or by sync; answers how to end that."""
        return self.own.on_change(callback)

    # --- keys of others ---------------------------------------------------------------------

    async def find_certificate(self, address: str) -> Found | None:
        """See `Finding.find_certificate`."""
        return await self.finding.find_certificate(address)

    async def ask(self, address: str) -> Asked:
        """See `Finding.ask`."""
        return await self.finding.ask(address)

    async def find_bound(
        self, address: str, *, seconds: float, issuers: Collection[str] = ()
    ) -> list[Certificate]:
        """See `Finding.find_bound`."""
        return await self.finding.find_bound(address, seconds=seconds, issuers=issuers)

    async def level_of(self, address: str) -> str:
        """The word of the level of the key that stands for an address (`trust.Level`); empty without one."""
        address = canonical(address)
        if address == self.address:
            return Level.KNOWN_KEY.word if await self.own_keys() else ""
        bound = await self.keyring.find(address)
        return "" if bound is None or bound.blocked else bound.level.word

    async def find_signers(self, issuers: Iterable[str]) -> list[Certificate]:
        """Certificates with a key of any of these fingerprints or key ids, one's own among them."""
        wanted = {issuer.upper() for issuer in issuers}
        own = [key.certificate for key in await self.own_keys()]
        mine = [c for c in own if wanted & {*c.fingerprints, *c.key_ids}]
        known = {certificate.fingerprint for certificate in mine}
        found = await self.keyring.find_signers(wanted)
        return [*mine, *(c for c in found if c.fingerprint not in known)]

    async def learn(
        self,
        certificate: Certificate,
        address: str,
        evidence: str,
        *,
        level: Level = Level.WEAK_CHAIN,
        source: str = "mail",
        mail: str = "",
        authentication: str = "",
    ) -> Decision:
        """Takes in a key found on the way; says whether it now is the key of the address, and why (not).

        Raises KeyRefused when the certificate does not carry the address.
        """
        return await self.keyring.learn(
            certificate,
            address,
            level,
            source=source,
            detail=evidence,
            mail=mail,
            authentication=authentication,
        )

    async def learn_from_mail(self, materials: Sequence[KeyMaterial]) -> Lesson | None:
        """What mails that are about to be stored say of keys; None when that is nothing new. Takes microseconds then.

        The lesson is kept in the transaction that stores them, and finished after it. Raises what the store raises.
        """
        learnt = await self.autocrypt.study(materials)
        vouched = [
            one
            for one in materials
            if one.authentication and (one.attached or one.url) and not one.is_spam
        ]
        if learnt is None and not vouched:
            return None
        return Lesson(self.autocrypt, self.keyring, self.mail_keys, learnt, vouched)

    async def autocrypt_header(self, from_address: str) -> str | None:
        """The value of the Autocrypt field for mail of this account or an alias of it; None without a usable key."""
        own = await self.own_keys()
        return await self.autocrypt.own_header(from_address, own[0].certificate) if own else None

    async def note_encrypted(self, fingerprints: Mapping[str, str]) -> None:
        """Mail was encrypted to the keys of these addresses: such keys are kept harder."""
        await self.keyring.note_uses(fingerprints, encrypted_to=True)

    async def note_signed(self, fingerprints: Mapping[str, str]) -> None:
        """Mail of these addresses came with a good signature by these keys, which stood for them."""
        await self.keyring.note_uses(fingerprints, signature_seen=True)

    async def policies(self, addresses: Iterable[str]) -> dict[str, str]:
        """See `Contacts.policies`."""
        return await self.contacts.policies(canonical(address) for address in addresses)

    async def signing(self, addresses: Iterable[str]) -> dict[str, str]:
        """See `Contacts.signing`."""
        return await self.contacts.signing(canonical(address) for address in addresses)

    # --- for people -------------------------------------------------------------------------

    async def list_keys(self) -> list[KeyInfo]:
        """Own keys first, then those of others by address."""
        now = self._now()
        found = [info_of_own(self.address, key.certificate, now) for key in await self.own_keys()]
        own = {info.fingerprint for info in found}
        return [*found, *(info_of(one, now) for one in await self._bound_keys(own))]

    async def _bound_keys(self, own: set[str]) -> list[Bound]:
        bindings = await self.keyring.list_bindings()
        names = [b.address for b in bindings if b.fingerprint not in own]
        found = [await self.keyring.find(name) for name in names]
        return [bound for bound in found if bound is not None]

    async def alerts(self) -> list[str]:
        """What the person must know or decide about keys of others, as sentences."""
        found: list[str] = []
        for binding in await self.keyring.list_bindings():
            if binding.alert is not None or level_named(binding.level) is Level.FINGERPRINT:
                bound = await self.keyring.find(binding.address)
                found += [] if bound is None else alerts_of(bound, self._now())
        return found

    async def show(self, wanted: str) -> list[KeyInfo]:
        """The keys of an address, or with a fingerprint (groups allowed); raises NoSuchKey."""
        plain = canonical(wanted)
        digits = "".join(plain.removeprefix("0x").split()).upper()
        found = [
            info
            for info in await self.list_keys()
            if info.address == plain
            or (len(digits) >= 16 and any(p.fingerprint.endswith(digits) for p in info.parts))
        ]
        if not found:
            contact = await self.contacts.find(plain)
            blocked = ", ".join(grouped(one.fingerprint) for one in contact.blocked)
            rest = f"; blocked for it: {blocked}" if blocked else ""
            rest += f"; `bitmask keys find {plain}` looks for one" if "@" in plain else ""
            raise NoSuchKey(f"no key is known for {wanted.strip()}{rest}")
        return found

    async def import_certificates(
        self, data: bytes, *, origin: str, verified: Sequence[str] = ()
    ) -> list[Imported]:
        """See `importing.import_certificates`."""
        return await import_certificates(
            self.keyring, self.address, data, origin=origin, verified=verified
        )

    async def comparison(self, address: str) -> Comparison:
        """What the person and the owner of an address's key compare. Raises NoSuchKey, NoOwnKey, KeyRefused."""
        bound = await self.verifying.bound(address)
        own = (await self.own.certificate()).fingerprint
        mine, address = (self.address, own), bound.binding.address
        alert = bound.binding.alert
        stands = await compare(mine, (address, bound.certificate.fingerprint))
        offered = None if alert is None else await compare(mine, (address, alert.fingerprint))
        return Comparison(
            address=address,
            own=own,
            own_qr=qr_text(own),
            verified=bound.level is Level.FINGERPRINT,
            key=stands,
            offered=offered,
        )

    async def export_all(self) -> bytes:
        """The armored certificates of all keys, one's own first."""
        certificates = [key.certificate for key in await self.own_keys()]
        own = {certificate.fingerprint for certificate in certificates}
        certificates += [bound.certificate for bound in await self._bound_keys(own)]
        once = {certificate.fingerprint: certificate for certificate in certificates}
        return b"".join(certificate.armored() for certificate in once.values())

    async def export(
        self, address: str, *, secret: bool = False, passphrase: str | None = None
    ) -> bytes:
        """The armored key of an address; with `secret` all own secret keys, locked if a passphrase is given.

        Raises NoSuchKey, NoOwnKey.
        """
        address = canonical(address)
        if secret:
            if address != self.address:
                raise NoSuchKey(f"{address} is not this account: there is no secret key of it here")
            return await self.own.export(passphrase)
        if address == self.address and (own := await self.own_keys()):
            return own[0].certificate.armored()
        bound = await self.keyring.find(address)
        if bound is None:
            raise NoSuchKey(f"no key is known for {address}")
        return bound.certificate.armored()
