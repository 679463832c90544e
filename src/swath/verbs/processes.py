"""A verb in several processes of this machine: each runs the same command, and process 0 answers."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from swath.errors import SwathError
from swath.verbs.config import dump_config


def in_processes(verb: str, config: Any, processes: int) -> dict[str, Any]:
    """The fields of the verb's result.

    Raises:
        SwathError: it failed; process 0 has said why on standard error, or another's words are given.
    """
    from swath.training.launch import launch

    with tempfile.TemporaryDirectory(prefix="swath-") as folder:
        resolved = Path(folder) / "config.yaml"
        resolved.write_text(dump_config(config, verb=verb), "utf-8")
        done = launch(["-m", "swath", verb, str(resolved), "--json"], processes)
    if done.code == 0:
        result: dict[str, Any] = json.loads(done.output)
        return result
    said = [line for line in done.error.splitlines() if line.startswith("error: ")]
    what = (
        said[0].removeprefix("error: ")
        if said
        else f"one of {processes} processes ended with code {done.code}"
    )
    raise SwathError(what, mend=None if said else "see what was said above")
