"""A process that `launch` started ends when the one that started it is gone."""

from __future__ import annotations

import os
import threading
import time

LAUNCHER = "SWATH_LAUNCHER"
"""In the environment of what is launched: the number of the process that launched it."""
GONE = 1
_EVERY_SECONDS = 1.0


def end_with_launcher() -> None:
    """Ends this process within a second or so of its launcher's end, whatever it does then: a run that is stopped at
    any moment goes on from its last checkpoint, and one that nobody waits for would hold its cores and its folder.

    Does nothing in a process that was not launched so. What this one starts is not told.
    """
    launcher = os.environ.pop(LAUNCHER, None)
    if launcher is None:
        return

    def watch() -> None:
        while os.getppid() == int(launcher):
            time.sleep(_EVERY_SECONDS)
        os._exit(GONE)

    threading.Thread(target=watch, daemon=True, name="swath launcher").start()
