"""The IMAP session: a state machine over `leap.mail.contract.AccountBackend`, without sockets."""
