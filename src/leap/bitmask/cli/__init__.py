"""The `bitmask` command, one file per family of commands."""
