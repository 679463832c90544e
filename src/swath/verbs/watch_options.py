"""What is looked at while a pretraining goes on. No torch here: the command line's help reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from swath.errors import ConfigError
from swath.verbs.labelled_options import LabelledData


@dataclass(frozen=True)
class WatchOptions:
    """What is looked at while a pretraining goes on.

    Attributes:
        pictures_every: steps (or epochs, see `unit`) between pictures of the places held out, seen, reconstructed and
            original; 0: none before the report.
        health_every: the same between looks at the features: how many dimensions they use, whether they collapse,
            and how well they tell the labels of `probe`; 0: never.
        unit: of both: optimiser "steps", or "epochs", passes over the data as stages count them.
        samples: windows whose features are looked at.
        probe: labelled data to ask nearest neighbours and a linear probe on; null: none. The pretraining's contract
            converts them, the network learns nothing from them. Their train part teaches and their validation part is
            asked, record by record or pixel by pixel as `swath probe` does; of a scene divided by columns, windows
            side by side are asked, each for the class of most of its labelled pixels. Records with one answer are
            brought to `data.gsd` too; `window` then counts pixels of that size.
        neighbours: that have a say.
    """

    pictures_every: int = 0
    health_every: int = 0
    unit: Literal["steps", "epochs"] = "steps"
    samples: int = 256
    probe: LabelledData | None = None
    neighbours: int = 5

    def __post_init__(self) -> None:
        for name in ("pictures_every", "health_every"):
            if getattr(self, name) < 0:
                raise ConfigError(
                    f"is {getattr(self, name)}", where=f"watch.{name}", mend=f"give 0 or more {self.unit}"
                )
        for name, least in (("samples", 2), ("neighbours", 1)):
            if getattr(self, name) < least:
                raise ConfigError(
                    f"{getattr(self, name)} show nothing", where=f"watch.{name}", mend=f"give {least} or more"
                )
