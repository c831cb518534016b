"""What a mail says of keys, as mail hands it over: small, without judgement, and fit to pass between processes.

Invariant: what it holds is bounded, however large the mail was. It is the word of whoever wrote the mail; what
vouches for it stands in `authentication`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, Protocol

Authentication = Literal["", "signature good", "dkim pass", "signed by the attached key"]

SIGNATURE_GOOD: Final = "signature good"
DKIM_PASS: Final = "dkim pass"  # noqa: S105 - a result of DKIM
SIGNED_BY_ATTACHED: Final = "signed by the attached key"  # says nothing of From

MAX_ATTACHED: Final = 3  # keys attached to one mail that are looked at
MAX_ATTACHED_OCTETS: Final = 128 * 1024  # of each; a certificate with a photo has some 30 kB
MAX_URL: Final = 1000  # characters


class KeyMaterial(NamedTuple):
    """One mail. Times in seconds since 1970; fields' values unfolded, as they stand.

    `from_address`: the one address of the one From that is served; without keys in the mail it may be read leniently.
    `date`: what the Date field says; `received`: when the provider got it. `autocrypt` are Autocrypt fields around
    the mail, `protected_autocrypt` those inside its encryption. `gossip` are Autocrypt-Gossip fields inside, and
    `recipients` whom To, Cc and Reply-To name. `attached`: decoded application/pgp-keys parts; `url`: that of an
    OpenPGP field. `authentication` ("", `SIGNATURE_GOOD`, `DKIM_PASS`, `SIGNED_BY_ATTACHED`) vouches for all but
    `autocrypt`; the last one for `attached` only, which then is the key that signed.
    """

    from_address: str
    date: int | None = None
    received: int = 0
    message_id: str = ""
    autocrypt: tuple[bytes, ...] = ()
    protected_autocrypt: tuple[bytes, ...] = ()
    gossip: tuple[bytes, ...] = ()
    recipients: tuple[str, ...] = ()
    attached: tuple[bytes, ...] = ()
    url: str = ""
    authentication: Authentication = ""
    is_report: bool = (
        False  # multipart/report or auto-replied: says nothing of what its sender reads mail with
    )
    is_spam: bool = False

    @property
    def sender_authentication(self) -> Authentication:
        """What vouches for the mail being of its From; a key that came with it does not."""
        return "" if self.authentication == SIGNED_BY_ATTACHED else self.authentication

    def __repr__(self) -> str:
        return "<KeyMaterial>"  # whom one hears from belongs in no log


class MailKeys(Protocol):
    """Who takes in keys attached to mail, or named by it: `leap.keymanager.discovery.mail_keys`."""

    async def offer(
        self,
        address: str,
        certificates: Sequence[bytes],
        *,
        url: str,
        message_id: str,
        authentication: Authentication,
    ) -> object:
        """Takes them in if what vouches for the mail is enough; returns soon, and raises only what the store raises."""
        ...
