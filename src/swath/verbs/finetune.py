"""`swath finetune`: learn from labels, from pretrained weights or from scratch: classes, values or change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from swath.models.lora_config import LoRAConfig
from swath.training.config import TrainConfig
from swath.verbs.head_options import HeadOptions
from swath.verbs.labelled_options import LabelledData
from swath.verbs.options import ModelOptions, RunOptions
from swath.verbs.task_options import LossOptions

if TYPE_CHECKING:
    from pathlib import Path

    from swath.training.folder import RunFolder
    from swath.training.run import FitResult
    from swath.weights.transfer import TransferReport


@dataclass(frozen=True)
class FinetuneConfig:
    """Learn from labels: classes of images or pixels, several labels, real numbers, or change.

    Attributes:
        run: where the run goes.
        data: a scene with labels, of which the columns from `data.east_start` on are never seen; or records of a
            layout, of shards, or of a scene that `data.parts` divides, of which the test part is never opened.
        weights: pretrained weights to start from; empty: from scratch.
        model: the family of the network; `system` "auto": that of the weights, or st_swin_unet.
        head: what answers on top of its encoder.
        lora: train adapters of low rank beside the pretrained blocks in place of the blocks, and merge them at the end.
        loss: what a wrong answer costs.
        training: how it is trained; monitor "auto": what the task is known by, on the validation part.
        licence: of the weights, which stands inside them and the maps; that of the data may ask for one.
    """

    run: RunOptions
    data: LabelledData
    weights: str = ""
    model: ModelOptions = field(default_factory=lambda: ModelOptions("auto"))
    head: HeadOptions = field(default_factory=HeadOptions)
    lora: LoRAConfig | None = None
    loss: LossOptions = field(default_factory=LossOptions)
    training: TrainConfig = field(
        default_factory=lambda: TrainConfig(decay_rule="finetune", monitor="auto", validate_every=100)
    )
    licence: str = "unknown"


@dataclass(frozen=True)
class FinetuneResult:
    """What fine-tuning came to.

    Attributes:
        folder: of the run.
        weights: the file of weights.
        report: the page about the run.
        step: whose weights were kept.
        steps: done.
        validation: scores on the validation block or part at `step`; null where one has no meaning there.
        transfer: what became of the pretrained tensors, in words; empty from scratch.
        samples_per_second: while training.
        seconds: of this call.
        precision: what was computed in.
        parameters: of the network.
        task: what it was trained for.
        selected_on: "block" of a scene or "part" of a data set.
    """

    folder: str
    weights: str
    report: str
    step: int
    steps: int
    validation: dict[str, float | None]
    transfer: str
    samples_per_second: float
    seconds: float
    precision: str
    parameters: int
    task: str = "segmentation"
    selected_on: str = "block"

    @classmethod
    def of(
        cls,
        folder: RunFolder,
        report: Path,
        fitted: FitResult,
        transferred: TransferReport | None,
        parameters: int,
        *,
        task: str,
        selected_on: str,
    ) -> FinetuneResult:
        """What a finished run came to."""
        return cls(
            str(folder.path),
            str(folder.weights),
            str(report),
            fitted.step,
            fitted.steps,
            dict(fitted.metrics),
            "" if transferred is None else str(transferred),
            fitted.samples_per_second,
            fitted.seconds,
            fitted.precision.name,
            parameters,
            task,
            selected_on,
        )

    def summary(self) -> str:
        """A few words for a terminal."""
        scores = ", ".join(
            f"{name.replace('_', ' ')} {'-' if value is None else format(value, '.3f')}"
            for name, value in self.validation.items()
        )
        lines = [self.transfer] if self.transfer else []
        lines.append(f"step {self.step} of {self.steps}, on the validation {self.selected_on}: {scores}")
        lines.append(f"{self.samples_per_second:.0f} samples/s in {self.precision}")
        return "\n".join([*lines, f"weights {self.weights}", f"report  {self.report}"])


def run(config: FinetuneConfig) -> FinetuneResult | None:
    """Runs a fine-tuning to its end, or on from where it was stopped.

    Returns:
        What it came to; None in the processes of a run that do not lead it.

    Raises:
        SwathError: in one line, if the data, the options, the weights or the folder do not fit.
    """
    if config.data.by_columns:
        from swath.verbs.finetune_scene import run_scene

        return run_scene(config)
    from swath.training.precision import choose_device
    from swath.training.ranks import joined, world

    if config.training.devices > 1 and world().size == 1:
        from swath.verbs.processes import in_processes

        return FinetuneResult(**in_processes("finetune", config, config.training.devices))
    from swath.verbs.finetune_records import run_records

    with joined(choose_device(config.training.device, "training.device")):
        return run_records(config)
