"""Mail on its way to other servers: kept durably, tried again, reported when it fails."""

from leap.provider.queue.routes import Routes
from leap.provider.queue.storage import QueueStorage
from leap.provider.queue.worker import QueueWorker

__all__ = ["QueueStorage", "QueueWorker", "Routes"]
