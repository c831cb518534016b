"""Mail from outside: accepted for known users only, sealed in memory, put into the inbox."""

from leap.provider.mx.handler import MxHandler, mx_config

__all__ = ["MxHandler", "mx_config"]
