"""Small named notes of programs on mailboxes and on the account (RFC 5464)."""
