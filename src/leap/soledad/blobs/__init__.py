"""Blobs: immutable bytes outside the log, sealed in chunks and verified by the reference in the log."""

from leap.soledad.blobs.format import BlobRef, SealedBlob, open_blob, seal_blob
from leap.soledad.blobs.policy import ContentsPolicy
from leap.soledad.blobs.sealing import SealedFile

__all__ = ["BlobRef", "ContentsPolicy", "SealedBlob", "SealedFile", "open_blob", "seal_blob"]
