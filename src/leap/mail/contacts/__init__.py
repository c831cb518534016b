"""Contacts by use: whom a person writes to and hears from, counted from the mail that is stored."""
