"""`python -m leap.bitmask` runs the daemon.

Nothing is imported here at once: worker processes would load it again.
"""

from __future__ import annotations

import gc
import sys

if __name__ == "__main__":
    gc.disable()  # all that is imported stays; looking through it while it grows takes an eighth of the start
    from leap.bitmask.daemon import main

    gc.freeze()  # nor is it looked through later, which would hold up the event loop
    gc.enable()
    sys.exit(main())
