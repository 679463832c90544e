"""What is looked at while a pretraining goes on. No torch here: the command line's help reads it."""

from __future__ import annotations

from dataclasses import dataclass

from swath.data.legend import LandClass
from swath.data.spec import SceneSpec
from swath.errors import ConfigError
from swath.verbs.labelled_options import LabelledData


@dataclass(frozen=True)
class ProbeOptions:
    """A labelled scene that features are asked about.

    Attributes:
        scene: the raster; the pretraining's contract converts it.
        labels: a raster of class values on the scene's grid.
        classes: value, name and colour of each class; may be left out for embedded labels.
        ignore: values of the label raster that mean "no label".
        window: side of the windows, pixels; each has the class of most of its labelled pixels.
        validation: width of the block that is asked, columns; 0: as wide as a window.
        east_start: first column of the part that is left alone; 0: the middle of the scene.
    """

    scene: SceneSpec
    labels: str
    classes: tuple[LandClass, ...] = ()
    ignore: tuple[int, ...] = ()
    window: int = 96
    validation: int = 0
    east_start: int = 0

    def data(self) -> LabelledData:
        """As fine-tuning would read it."""
        return LabelledData(
            self.scene,
            self.labels,
            self.validation,
            self.east_start,
            classes=self.classes,
            ignore=self.ignore,
            window=self.window,
        )


@dataclass(frozen=True)
class WatchOptions:
    """What is looked at while a pretraining goes on.

    Attributes:
        pictures_every: steps between pictures of the places held out, seen, reconstructed and original; 0: none
            before the report.
        health_every: steps between looks at the features: how many dimensions they use, whether they collapse,
            and how well they tell the classes of `probe`; 0: never.
        samples: windows whose features are looked at.
        probe: a labelled scene to ask nearest neighbours and a linear classifier on; null: none. Its western part
            teaches, its validation block is asked; nothing of it is learned from.
        neighbours: of the nearest-neighbour classifier.
    """

    pictures_every: int = 0
    health_every: int = 0
    samples: int = 256
    probe: ProbeOptions | None = None
    neighbours: int = 5

    def __post_init__(self) -> None:
        for name in ("pictures_every", "health_every"):
            if getattr(self, name) < 0:
                raise ConfigError(
                    f"is {getattr(self, name)}", where=f"watch.{name}", mend="give 0 or more steps"
                )
        if self.samples < 2 or self.neighbours < 1:
            raise ConfigError(
                f"{self.samples} samples and {self.neighbours} neighbours show nothing",
                where="watch",
                mend="give at least 2 samples and 1 neighbour",
            )
