"""The order of messages in a mailbox: SORT and THREAD (RFC 5256, 5957), from keys made at storage."""
