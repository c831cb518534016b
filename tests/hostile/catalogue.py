"""All attacks. Those of `ATTACKS` are each run three times by `test_attacks`; the others have tests of their own."""

from __future__ import annotations

from tests.hostile.connections import CONNECTION_ATTACKS
from tests.hostile.contents import CONTENT_ATTACKS
from tests.hostile.heads import HEAD_ATTACKS
from tests.hostile.items import ITEM_ATTACKS
from tests.hostile.keysets import KEYSET_ATTACKS
from tests.hostile.limits import LIMITS
from tests.hostile.logins import LOGIN_ATTACKS
from tests.hostile.notices import NOTICE_ATTACKS
from tests.hostile.pages import PAGE_ATTACKS
from tests.hostile.revocations import REVOCATION_ATTACKS
from tests.hostile.server import Attack

ATTACKS: tuple[type[Attack], ...] = (
    *ITEM_ATTACKS,
    *HEAD_ATTACKS,
    *PAGE_ATTACKS,
    *LOGIN_ATTACKS,
    *KEYSET_ATTACKS,
    *REVOCATION_ATTACKS,
    *CONTENT_ATTACKS,
    *CONNECTION_ATTACKS,
)
NAMED_IN_THE_DOCUMENT: tuple[type[Attack], ...] = (*ATTACKS, *NOTICE_ATTACKS, *LIMITS)
