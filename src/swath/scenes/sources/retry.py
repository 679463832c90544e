"""Trying again what failed over a network, later and later; what is gone for good is not asked for twice."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable
from typing import TypeVar

from swath.errors import InputError, ReadError
from swath.scenes.sources.spec import RetryOptions

log = logging.getLogger(__name__)
T = TypeVar("T")
# Answers that will be the same tomorrow: not there, not allowed or unknown to a store, no such range. 408 and 429 ask
# to come back later.
_FINAL = re.compile(
    r"\b(?:HTTP(?: response code| Error)?:? ?)(400|401|403|404|405|410|416)\b|does not exist|NO_SIGN_REQUEST",
    re.I,
)


def is_final(error: InputError) -> bool:
    """Whether trying again cannot help: what is not there, and what no library's failure lies behind."""
    failed = isinstance(error, ReadError) or error.__cause__ is not None
    return not failed or bool(_FINAL.search(str(error)))


def waits(options: RetryOptions, process: int) -> list[float]:
    """Seconds before each further try; processes that failed together do not come back together."""
    # A fixed place within the wait per process: Knuth's multiplicative hash, as a share of 1.
    share = (process * 2654435761 % 2**32) / 2**32
    return [min(options.wait * 2**i, options.longest) * (0.75 + share / 2) for i in range(options.times)]


def retrying(
    action: Callable[[], T],
    options: RetryOptions,
    *,
    remote: bool,
    again: Callable[[], None] = lambda: None,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """The result of an action that reads.

    Args:
        action: what to do; it raises InputError when it fails.
        options: how often and when.
        remote: whether it goes over a network; what lies on this machine is tried once.
        again: called before each further try, to let go of connections and open files.
        sleep: how to wait.

    Raises:
        ReadError: it failed every time.
        InputError: it failed in a way that no further try can mend.
    """
    if not remote:
        return action()
    pauses = waits(options, os.getpid())
    for number in range(len(pauses) + 1):
        try:
            return action()
        except InputError as err:
            if is_final(err):
                raise
            if number == len(pauses):
                raise ReadError(f"{err.what}, {number + 1} times", where=err.where, mend=err.mend) from err
            log.info("%s; again in %.1f s (try %d of %d)", err, pauses[number], number + 2, len(pauses) + 1)
            sleep(pauses[number])
            again()
    raise AssertionError("a loop that returns or raises has ended")
