"""Which bands a map gets, from what its weights say and what is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from swath.data.legend import LandClass
    from swath.scenes.layers import Layers
    from swath.weights.file import Loaded


def map_layers(
    loaded: Loaded,
    *,
    min_coverage: int = 1,
    probabilities: bool = False,
    entropy: bool = False,
    disagreement: bool = False,
    bits: Literal[8, 16] = 8,
) -> Layers:
    """The bands of a map by these weights.

    Raises:
        WeightsError: they draw no map.
        ConfigError: a band is asked for that such weights cannot give.
    """
    from swath.errors import ConfigError
    from swath.scenes.layers import ClassLayers, LabelLayers, ValueLayers

    task = task_of(loaded)
    asked = {"probabilities": probabilities, "entropy": entropy, "bits": bits != 8}
    if task in ("regression", "multilabel"):
        given = [name for name, wanted in asked.items() if wanted and (task, name) != _OWN]
        if task == "multilabel" and disagreement:
            given.append("disagreement")
        if given:
            raise ConfigError(f"is not for {task}", where=given[0], mend="leave it out")
    if task == "regression":
        about = loaded.meta.provenance.get("quantities")
        named = about if isinstance(about, Mapping) else {"value": ""}
        units = tuple(str(u) for u in named.values())
        return ValueLayers(tuple(map(str, named)), min_coverage, disagreement, units if any(units) else ())
    classes = map_classes(loaded)
    if task == "multilabel":
        return LabelLayers(classes, min_coverage)
    title = "change" if task == "change" else "class"
    return ClassLayers(classes, min_coverage, probabilities, entropy, disagreement, bits, title)


# Every map of labels holds their probabilities.
_OWN = ("multilabel", "probabilities")


def task_of(loaded: Loaded) -> str:
    """What the weights were trained for: as they say, or else by their architecture."""
    said = loaded.meta.provenance.get("task")
    if isinstance(said, str):
        return said
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
