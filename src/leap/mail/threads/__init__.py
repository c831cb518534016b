"""Threads: which messages belong to one conversation."""
