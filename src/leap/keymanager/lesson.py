"""What mail teaches of keys: first kept in the transaction that stores the mail, then used where it is news.

    lesson = await keys.learn_from_mail(materials)
    ... lesson.keep(tx) in the transaction of the mails ...
    await lesson.finish()

Invariants:
* Kept with the mail: a crash loses both or neither, and the same mail again changes nothing.
* `finish` may be lost in a crash: the next mail of the same people brings as much.
* No key becomes the key of an address here, but for keys that something vouches for, which `MailKeys` judges: an
  update of the key an address has is merged, all else waits until it is looked for (`discovery.autocrypt`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from leap.keymanager.autocrypt.account import Autocrypt, Learnt
from leap.keymanager.documents import DocumentTransaction
from leap.keymanager.errors import KeyManagerError
from leap.keymanager.keyring import Keyring
from leap.keymanager.mail_material import KeyMaterial, MailKeys
from leap.keymanager.openpgp import Certificate, OpenPGPError
from leap.keymanager.trust import Level

logger = logging.getLogger(__name__)

SOURCE = "autocrypt"


class Lesson:
    """What a few mails teach."""

    def __init__(
        self,
        autocrypt: Autocrypt,
        keyring: Keyring,
        mail_keys: MailKeys | None,
        learnt: Learnt | None,
        vouched: Sequence[KeyMaterial],
    ) -> None:
        """`vouched`: mails that attach or name keys, and have something that vouches for them."""
        self._autocrypt = autocrypt
        self._keyring = keyring
        self._mail_keys = mail_keys
        self._learnt = learnt
        self._vouched = vouched

    def keep(self, tx: DocumentTransaction) -> None:
        """Writes what there is to keep."""
        if self._learnt is not None:
            self._autocrypt.keep(tx, self._learnt)

    async def finish(self) -> None:
        """Updates the keys that addresses have, and hands on what mails attach. Raises what the store raises."""
        for address, certificate in self._learnt.fresh.items() if self._learnt is not None else ():
            try:
                await self._update(address, certificate)
            except (KeyManagerError, OpenPGPError) as error:
                logger.info("an update of a key was not taken: %s", type(error).__name__)
        if self._mail_keys is None:
            return
        for material in self._vouched:
            await self._mail_keys.offer(
                material.from_address,
                material.attached,
                url=material.url,
                message_id=material.message_id,
                authentication=material.authentication,
            )

    async def _update(self, address: str, certificate: Certificate) -> None:
        """Merges what came into the key which the address has: a later end, a new subkey."""
        bound = await self._keyring.find(address)
        if bound is None or bound.binding.fingerprint != certificate.fingerprint:
            return
        peer = await self._autocrypt.peer(address)
        await self._keyring.learn(
            certificate,
            address,
            Level.WEAK_CHAIN,
            source=SOURCE,
            detail="an Autocrypt header brought it again",
            mail="" if peer is None else peer.mail,
            authentication="" if peer is None else peer.authentication,
        )
