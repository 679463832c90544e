"""Which bands a map gets, from what its weights say and what is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from swath.data.legend import LandClass
    from swath.scenes.layers import Layers
    from swath.weights.file import Loaded
    from swath.weights.meta import MapTask


def map_layers(
    loaded: Loaded,
    *,
    min_coverage: int = 1,
    probabilities: bool = False,
    entropy: bool = False,
    disagreement: bool = False,
    bits: Literal[8, 16] = 8,
    dates: Sequence[str] = (),
) -> Layers:
    """The bands of a map by these weights; of one for each date where `dates` names them.

    Raises:
        WeightsError: they draw no map.
        ConfigError: a band is asked for that such weights cannot give.
    """
    from swath.errors import ConfigError, WeightsError
    from swath.scenes.layers import ClassLayers, DatedLayers, LabelLayers, ValueLayers

    if dates:
        if disagreement:
            raise ConfigError(
                "is not for maps of each date", where="disagreement", mend="leave disagreement out"
            )
        one = map_layers(
            loaded, min_coverage=min_coverage, probabilities=probabilities, entropy=entropy, bits=bits
        )
        return DatedLayers(one, tuple(dates))
    task = task_of(loaded)
    asked = {"probabilities": probabilities, "entropy": entropy, "bits": bits != 8}
    if task in ("regression", "multilabel"):
        given = [name for name, wanted in asked.items() if wanted and (task, name) not in _OWN]
        if task == "multilabel" and disagreement:
            given.append("disagreement")
        if given:
            raise ConfigError(f"is not for {task}", where=given[0], mend="leave it out")
    calibration = loaded.meta.calibration
    temperature = None if calibration is None else calibration.temperature
    if task == "regression":
        said = loaded.meta.quantities
        if not said:
            raise WeightsError(
                "do not name the quantities they tell",
                where=loaded.path,
                mend="fine-tune them with this swath",
            )
        if temperature is not None:
            raise WeightsError("hold a temperature, which is for probabilities", where=loaded.path)
        return ValueLayers(
            tuple(q.name for q in said), min_coverage, disagreement, tuple(q.unit for q in said),
            tuple(q.gain for q in said), tuple(q.bias for q in said),
        )  # fmt: skip
    classes = map_classes(loaded)
    if task == "multilabel":
        return LabelLayers(classes, min_coverage, temperature, bits)
    title = "change" if task == "change" else "class"
    return ClassLayers(classes, min_coverage, probabilities, entropy, disagreement, bits, title, temperature)


# Every map of labels holds their probabilities.
_OWN = (("multilabel", "probabilities"), ("multilabel", "bits"))


def task_of(loaded: Loaded) -> MapTask:
    """What the weights were trained for: as they say, or else by their architecture."""
    if loaded.meta.task is not None:
        return loaded.meta.task
    return "change" if loaded.meta.architecture == "spectralgpt_change" else "segmentation"


def map_classes(loaded: Loaded) -> tuple[LandClass, ...]:
    """The legend inside the weights."""
    from swath.data.legend import LandClass, rgb
    from swath.errors import WeightsError

    if not loaded.meta.classes:
        raise WeightsError(
            f"hold a {loaded.meta.architecture} that draws no map",
            where=loaded.path,
            mend="fine-tune them first: swath finetune --weights …",
        )
    return tuple(
        LandClass(i if c.value is None else c.value, c.name, rgb(c.colour or "#000000"))
        for i, c in enumerate(loaded.meta.classes)
    )
