"""Twisted's asyncio reactor on uvloop: `twist --reactor uvloop`, `trial --reactor uvloop`."""

from __future__ import annotations

import uvloop

from leap.mail.twisted import bridge


def install() -> None:
    """What Twisted calls for this name of a reactor."""
    bridge.install(uvloop.new_event_loop())
