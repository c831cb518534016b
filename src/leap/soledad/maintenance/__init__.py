"""Looking after a store: verify, export and import, rebuild, compact. Nothing here is needed for daily use."""

from leap.soledad.maintenance.compact import compact
from leap.soledad.maintenance.exporting import export_store
from leap.soledad.maintenance.findings import Finding, Report
from leap.soledad.maintenance.importing import import_store
from leap.soledad.maintenance.rebuild import rebuild
from leap.soledad.maintenance.verify import verify

__all__ = ["Finding", "Report", "compact", "export_store", "import_store", "rebuild", "verify"]
