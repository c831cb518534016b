"""The way in: from the provider's sealed inbox to messages with a verdict."""
