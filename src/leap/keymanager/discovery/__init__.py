"""Where keys come from: one source per module, asked in order by `search`."""

from leap.keymanager.discovery.contract import Directory, Found, Source
from leap.keymanager.discovery.search import search

__all__ = ["Directory", "Found", "Source", "search"]
