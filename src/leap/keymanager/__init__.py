"""OpenPGP keys of one's own and of others: the engine, the keyring, trust and discovery."""
