"""Measurements, beside a peer in the same run where there is one: `python -m bench [NAME...] [--json]`."""
