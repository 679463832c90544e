"""The verbs by name. Each is listed here and lives in `swath/verbs/<name>.py`; none is imported before use.

The module of a verb holds a frozen dataclass `<Name>Config`, whose fields are its options on the command line
and in YAML, and `run(config) -> result`. Four things are optional: `POSITIONAL`, the names of options that may
be given without `--NAME` (default: a recipe); `implied_sources(options)`, YAML files to read first; a method
`summary()` on the result, which is then printed; and `exit_code` on the result, which the command line then returns.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from swath.errors import ConfigError

RECIPE = "recipe"
"""The positional argument that names a packaged recipe or a YAML file instead of an option."""


@dataclass(frozen=True)
class Verb:
    """One verb of the command line."""

    name: str
    help: str
    module: str = ""
    config: str = ""

    @property
    def module_name(self) -> str:
        """Where the verb lives."""
        return self.module or f"swath.verbs.{self.name}"

    @property
    def exists(self) -> bool:
        """Whether this installation has the verb; imports only the parent package."""
        try:
            return importlib.util.find_spec(self.module_name) is not None
        except ModuleNotFoundError:
            return False

    def load(self) -> LoadedVerb:
        """Import the verb's module."""
        module = importlib.import_module(self.module_name)
        config = getattr(module, self.config or f"{self.name.capitalize()}Config")
        return LoadedVerb(self, module, config)


@dataclass(frozen=True)
class LoadedVerb:
    """A verb with its module at hand."""

    verb: Verb
    module: ModuleType
    config: type[Any]

    @property
    def run(self) -> Callable[[Any], object]:
        """The function that does the work."""
        run: Callable[[Any], object] = self.module.run
        return run

    def implied_sources(self, options: Mapping[str, object]) -> list[str]:
        """Files that some options imply, such as the config of the run that a bad step belongs to."""
        find: Callable[[Mapping[str, object]], list[str]] | None
        find = getattr(self.module, "implied_sources", None)
        return [] if find is None else find(options)

    @property
    def positional(self) -> tuple[str, ...]:
        """Options that may be given by place."""
        return tuple(getattr(self.module, "POSITIONAL", (RECIPE,)))


VERBS: dict[str, Verb] = {
    verb.name: verb
    for verb in (
        Verb("demo", "run the whole chain on the embedded real sample: pretrain, fine-tune, map, report"),
        Verb("pretrain", "learn from images without labels"),
        Verb("finetune", "learn a map's classes from labels, from pretrained weights or from scratch"),
        Verb("probe", "see what a frozen encoder knows: neighbours, linear and small convolutional probes"),
        Verb("predict", "map a scene of any size to a Cloud-Optimized GeoTIFF with confidence and coverage"),
        Verb(
            "embed",
            "write what an encoder sees of a scene of any size, as GeoTIFF, GeoParquet or Zarr",
        ),
        Verb("evaluate", "score trained weights on data, or a map against labels"),
        Verb("baseline", "score a plain method on data: majority, spectral index, random forest"),
        Verb("card", "does it beat a plain U-Net on your data? plain methods and encoders, compared"),
        Verb("calibrate", "fit how far trained weights can be believed, and write it into them"),
        Verb("pack", "write a data set into shards that feed a GPU, check them, take their statistics"),
        Verb("inspect", "say what a scene, weights or a run hold, and whether they fit"),
        Verb("convert", "make published weights swath's, and swath's the published ones again"),
        Verb("ledger", "show what equals what: ours and the published codes, fast and slow paths"),
    )
}
"""Every verb, in the order of the help text."""


def available() -> list[Verb]:
    """The verbs that this installation has."""
    return [verb for verb in VERBS.values() if verb.exists]


def find(name: str) -> Verb:
    """The verb of that name.

    Raises:
        ConfigError: there is no such verb; names the nearest.
    """
    verb = VERBS.get(name)
    if verb is not None and verb.exists:
        return verb
    names = [v.name for v in available()]
    near = difflib.get_close_matches(name, names, n=1)
    mend = f"did you mean '{near[0]}'?" if near else f"the verbs are: {', '.join(names) or 'none yet'}"
    raise ConfigError(f"unknown verb '{name}'", mend=mend)
