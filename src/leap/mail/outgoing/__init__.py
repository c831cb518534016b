"""The way out: policy, encryption, the durable outbox and the worker that empties it."""
