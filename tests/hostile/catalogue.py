"""All attacks. Those of `ATTACKS` are each run three times by `test_attacks`; the others have tests of their own.

A new one is a subclass of `server.Attack`: its docstring says in one sentence what the provider does; `guarantee`,
`expected` and `says` what has to come of it; `prepare` and `act` are the scenario, `on_...` the lie, `succeeded` and
`harmed` what it leads to without the lie and without the `checks`. It goes into the tuple at the end of its module, and
under its guarantee into docs/threat-model.md.
"""

from __future__ import annotations

from tests.hostile.connections import CONNECTION_ATTACKS
from tests.hostile.contents import CONTENT_ATTACKS
from tests.hostile.foundings import FOUNDING_ATTACKS
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
    *FOUNDING_ATTACKS,
    *PAGE_ATTACKS,
    *LOGIN_ATTACKS,
    *KEYSET_ATTACKS,
    *REVOCATION_ATTACKS,
    *CONTENT_ATTACKS,
    *CONNECTION_ATTACKS,
)
NAMED_IN_THE_DOCUMENT: tuple[type[Attack], ...] = (*ATTACKS, *NOTICE_ATTACKS, *LIMITS)
