"""Mail from other places into an account, and out of it: Maildir, mbox, files of single messages, IMAP."""
