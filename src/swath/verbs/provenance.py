"""What weights say of the run that made them, whichever verb it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from swath.training.config import TrainConfig
    from swath.training.run import FitResult
    from swath.weights.file import Loaded


def of_run(recipe: str, training: TrainConfig, result: FitResult) -> dict[str, Any]:
    """Versions, seed, precision, and the samples of an optimiser step (`batch_size`) with what makes them up.

    Args:
        recipe: the verb.
        training: its options.
        result: what it came to.
    """
    import torch

    import swath
    from swath.training.ranks import world

    processes = world().size
    return {
        "made_by": f"swath {swath.__version__}, torch {torch.__version__}",
        "recipe": recipe,
        "batch_size": training.samples_per_step(processes),
        "batch": {
            "per_pass": training.batch_size,
            "accumulate": training.accumulate,
            "processes": processes,
        },
        "seed": training.seed,
        "precision": result.precision.name,
    }


def learned_before(source: Loaded | None) -> dict[str, Any] | None:
    """Of weights that a run began with: their hash, and all that they say of themselves; None: from scratch."""
    return None if source is None else {"sha256": source.sha256, **source.meta.provenance}
