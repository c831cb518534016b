"""Blobs: immutable bytes outside the log, sealed in chunks and verified by the reference in the log."""

from leap.soledad.blobs.format import BlobRef, SealedBlob, open_blob, seal_blob

__all__ = ["BlobRef", "SealedBlob", "open_blob", "seal_blob"]
