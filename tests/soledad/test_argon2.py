"""Argon2id beside itself: several derivations in one process all end, and give what one alone gives."""

import asyncio

from leap.soledad.argon2 import argon2id


async def test_derivations_at_the_same_time_all_end() -> None:
    def derive(number: int) -> bytes:
        return argon2id(
            b"%d" % (number % 2), salt=b"s" * 16, length=32, passes=2, lanes=4, memory_kib=8192
        )

    alone = [derive(0), derive(1)]
    work = asyncio.gather(*(asyncio.to_thread(derive, number) for number in range(12)))
    assert await asyncio.wait_for(work, 30) == alone * 6
