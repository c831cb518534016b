"""`make demo`: a provider and a daemon on this machine, and alice and bob who write to each other."""
