"""The statistics of a scene that is mapped: measured in one pass, and kept in the work folder, so that an interrupted
map does not read the whole scene again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from swath import __version__
from swath.cube import BandStatistics
from swath.files import atomic
from swath.scenes.sources.opening import Source
from swath.scenes.work import STATISTICS, folder_of
from swath.training.progress import duration
from swath.words import counted, size

log = logging.getLogger(__name__)


def pass_bytes(scene: Source) -> int:
    """The stored numbers of a whole scene in bytes, before compression: what one pass over it reads."""
    dates, bands, height, width = scene.shape
    return dates * bands * height * width * scene.dtype.itemsize


def made_up(bands: int) -> BandStatistics:
    """Of no scene: for plans, where only what a network costs counts."""
    return BandStatistics((0.0,) * bands, (1.0,) * bands, (0.5,) * bands, (0.25,) * bands, (1,) * bands)


def measured(output: Path, scene: Source) -> BandStatistics:
    """The statistics that an unfinished output has kept of this very scene, or else one pass over it.

    Raises:
        ReadError: the scene cannot be read.
    """
    kept = kept_statistics(output, scene)
    if kept is not None:
        log.info("the scene's statistics were measured by an earlier run")
        return kept
    log.info(
        "measuring the scene's statistics: one pass over %s, %s before compression",
        counted(scene.height * scene.width, "pixel"),
        size(pass_bytes(scene)),
    )
    began = time.monotonic()
    found = scene.statistics()
    log.info("measured the scene's statistics in %s", duration(time.monotonic() - began))
    return found


def keep_statistics(output: Path, scene: Source, statistics: BandStatistics) -> None:
    """Writes them, whole or not at all, into the work folder of an output that was begun.

    Raises:
        OutputError: the file cannot be written.
    """
    plain = asdict(statistics)
    stated = {"of": _of(scene), "statistics": plain, "sha256": _digest(plain)}
    with atomic(folder_of(output) / STATISTICS) as temporary:
        temporary.write_text(json.dumps(stated), encoding="utf-8")


def kept_statistics(output: Path, scene: Source) -> BandStatistics | None:
    """What an unfinished output has kept; None if there is nothing, it is damaged, or of another scene or swath."""
    try:
        stated = json.loads((folder_of(output) / STATISTICS).read_text(encoding="utf-8"))
        if stated["of"] != _of(scene) or stated["sha256"] != _digest(stated["statistics"]):
            return None
        return BandStatistics(**{name: tuple(row) for name, row in stated["statistics"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _of(scene: Source) -> dict[str, str]:
    return {"swath": __version__, "scene": scene.identity()}


def _digest(plain: Any) -> str:
    """Of plain values; Python's JSON gives a float, NaN included, back as it was."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
