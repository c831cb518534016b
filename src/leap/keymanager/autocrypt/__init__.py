"""Autocrypt 1.1: keys that travel in mail, what is known of each peer, and moving a key between programs."""
