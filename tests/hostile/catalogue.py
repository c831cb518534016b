"""All attacks, by what they attack."""

from __future__ import annotations

from tests.hostile.items import ITEM_ATTACKS
from tests.hostile.server import Attack

ATTACKS: tuple[type[Attack], ...] = (*ITEM_ATTACKS,)
