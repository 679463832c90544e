"""`swath calibrate`: how far what trained weights say can be believed, written into them."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swath.errors import ConfigError
from swath.verbs.labelled_options import LabelledData
from swath.verbs.options import AskOptions
from swath.verbs.registry import RECIPE
from swath.verbs.score_units import IntervalOptions
from swath.words import counted

if TYPE_CHECKING:
    from swath.verbs.calibration_fit import Fitted

POSITIONAL = ("weights", RECIPE)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CalibrateConfig(AskOptions):
    """Fit a temperature, and sets or intervals that hold the truth, on places that training did not learn from.

    Half of the validation part's blocks are fitted on, as blended into a map; the other half says what it is worth.
    `swath evaluate` then says the same of the test part.

    Attributes:
        weights: that were trained for a task.
        data: as they were trained on; the validation part is used.
        output: the same weights with what was found inside, for `swath predict` and `swath evaluate`.
        level: share of pixels (records) whose truth the sets or intervals are to hold.
        intervals: what a block is; `unit`, `square` and `seed` count here too.
        overwrite: replace an earlier file.
    """

    weights: str
    data: LabelledData
    output: str
    level: float = 0.9
    intervals: IntervalOptions = field(default_factory=IntervalOptions)
    overwrite: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.level < 1:
            raise ConfigError(f"is {self.level}", where="level", mend="give a share such as 0.9")
        if not self.output.endswith(".safetensors"):
            raise ConfigError("names no file of weights", where="output", mend="let it end in .safetensors")


@dataclass(frozen=True)
class CalibrateResult:
    """What was found, and what it is worth on blocks that it was not fitted on.

    Attributes:
        output: the file of weights.
        task: of the weights.
        temperature: None where there are no probabilities.
        fit_blocks, check_blocks: how many blocks.
        unit: what a block is.
        before, after: surprise and calibration error of the check blocks.
        coverage: by name: what the check blocks hold of what is promised.
        thresholds: by name; null: without end.
        notes: what must be said with it.
    """

    output: str
    task: str
    temperature: float | None
    fit_blocks: int
    check_blocks: int
    unit: str
    before: dict[str, float]
    after: dict[str, float]
    coverage: dict[str, dict[str, Any]]
    thresholds: dict[str, float | None]
    notes: tuple[str, ...]

    def summary(self) -> str:
        """A few lines for a terminal."""
        lines = [
            f"fitted on {counted(self.fit_blocks, 'block')}, checked on {counted(self.check_blocks, 'other')} "
            f"(each a {self.unit})"
        ]
        if self.temperature is not None:
            lines.append(f"temperature {self.temperature:.3f}")
        for name in self.before:
            lines.append(
                f"{name.replace('_', ' '):20}{self.before[name]:.4f} before, {self.after[name]:.4f} after"
            )
        for name, row in self.coverage.items():
            between = "" if row["low"] is None else f" ({row['low']:.3f} to {row['high']:.3f})"
            size = "without end" if row["mean_size"] is None else format(row["mean_size"], ".3g")
            lines.append(
                f"sets of {name} promise {row['level']:.0%} and hold {row['coverage']:.3f}{between}, mean size {size}"
            )
        return "\n".join([*lines, *(f"note: {n}" for n in self.notes), f"weights {self.output}"])


def run(config: CalibrateConfig) -> CalibrateResult:
    """Calibrates weights.

    Raises:
        SwathError: in one line, if weights, data and options do not fit each other; nothing is written then.
    """
    from dataclasses import replace

    import torch

    from swath.errors import OutputError
    from swath.files import refuse_own_input
    from swath.scenes.worker import torch_threads
    from swath.verbs.answerer import Answerer, per_pixel
    from swath.verbs.calibration_fit import fit
    from swath.verbs.labelled_parts import open_labelled
    from swath.verbs.score_units import units_of
    from swath.weights.file import load, save

    if Path(config.output).exists() and not config.overwrite:
        raise OutputError("exists", where=config.output, mend="give another name, or --overwrite true")
    refuse_own_input(config.output, [config.weights])
    loaded = load(config.weights)
    answerer = Answerer(
        loaded, precision=config.precision, device=config.device, batch_size=config.batch_size
    )
    data = config.data
    part = open_labelled(data, "validation")
    units = units_of(part, config.intervals, per_pixel(part))
    with torch_threads(config.threads or torch.get_num_threads()):
        found = fit(
            answerer,
            part,
            data,
            units,
            level=config.level,
            seed=config.intervals.seed,
            draw=config.intervals.draw,
        )
    about = _about(config, found, units.words)
    save(config.output, loaded.state, replace(loaded.meta, calibration=_calibration(found, about)))
    return CalibrateResult(
        config.output,
        answerer.task,
        None if found.temperature is None else found.temperature.value,
        found.fit_blocks,
        found.check_blocks,
        units.words,
        found.before,
        found.after,
        found.coverage,
        {name: _finite(t.value) for name, t in found.thresholds.items()},
        found.notes,
    )


def _calibration(found: Fitted, about: dict[str, Any]) -> Any:
    from swath.weights.meta import Calibration

    return Calibration(None if found.temperature is None else found.temperature.value, about)


def _about(config: CalibrateConfig, found: Fitted, unit: str) -> dict[str, Any]:
    """What the weights say of it."""
    name = f"the validation {'block' if config.data.by_columns else 'part'} of {config.data.short_name}"
    conformal = {
        key: {
            "level": t.level,
            "threshold": _finite(t.value),
            "blocks": t.blocks,
            "checked": found.coverage[key],
        }
        for key, t in found.thresholds.items()
    }
    return {
        "data": name,
        "unit": unit,
        "fit_blocks": found.fit_blocks,
        "check_blocks": found.check_blocks,
        "before": found.before,
        "after": found.after,
        **({"conformal": conformal} if conformal else {}),
        **({"notes": list(found.notes)} if found.notes else {}),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
