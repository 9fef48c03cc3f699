"""Waiting for what should come: a condition, looked at until it holds or its
time is over. Nothing in these tests waits for a time to pass."""
import os
import time

# Sanitizers slow a node down by this factor; set by the build.
PATIENCE = float(os.environ.get("YZMA_PATIENCE", "1"))
PAUSE_MAX = 0.1  # between two looks


def until(condition, within, what):
    """The first true value of condition(). An exception of it ends the wait; what
    is a text, or makes one, for the failure after `within` seconds."""
    deadline = time.monotonic() + within * PATIENCE
    pause = 0.005
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            reason = what() if callable(what) else what
            raise AssertionError(f"not within {within * PATIENCE:g} s: {reason}")
        time.sleep(pause)
        pause = min(pause * 1.5, PAUSE_MAX)
