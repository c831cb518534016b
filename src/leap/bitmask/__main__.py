"""`python -m leap.bitmask` runs the daemon.

Nothing is imported here at once: worker processes would load it again.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from leap.bitmask.daemon import main

    sys.exit(main())
