"""What the daemon asks of a provider beyond sync: where its submission server is."""
