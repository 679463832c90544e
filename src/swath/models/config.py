"""What every model's config shares: plain values in, plain values out."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from swath.errors import ConfigError


@dataclass(frozen=True)
class ModelConfig:
    """Base of the frozen configs: to and from the JSON that is kept inside weights."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; tuples become lists."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The config of `to_dict`; an unknown key is a ConfigError that names the nearest known one."""
        known = [field.name for field in dataclasses.fields(cls)]
        for key in values:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                mend = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
                raise ConfigError(f"unknown option {key!r}", where=cls.__name__, mend=mend)
        return cls(**{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()})
