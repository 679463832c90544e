"""Classes of a map: the value in the label raster, the name, and the colour a person sees."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from swath.errors import ConfigError


def rgb(text: str) -> tuple[int, int, int]:
    """(red, green, blue) of "#rrggbb". Raises ConfigError if the text is anything else."""
    if not re.fullmatch("#[0-9a-fA-F]{6}", text):
        raise ConfigError(f"colour '{text}' is none", where="classes.color", mend="write #rrggbb")
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


@dataclass(frozen=True)
class LandClass:
    """One class.

    Attributes:
        value: the number that stands for it in label rasters and in maps.
        name: as a person reads it.
        color: red, green, blue, 0 to 255; or "#rrggbb" in options.
    """

    value: int
    name: str
    color: tuple[int, int, int] = field(metadata={"of_text": rgb})

    @property
    def hex(self) -> str:
        """The colour as "#rrggbb"."""
        return "#{:02x}{:02x}{:02x}".format(*self.color)


def spread(count: int) -> tuple[tuple[int, int, int], ...]:
    """Colours for classes that have none of their own: hues around the circle, in turn dark and light."""
    found = []
    for i in range(count):
        r, g, b = colorsys.hsv_to_rgb(i / count, 0.75, 0.9 if i % 2 else 0.65)
        found.append((round(255 * r), round(255 * g), round(255 * b)))
    return tuple(found)


def check_legend(classes: Sequence[LandClass], where: str = "classes") -> None:
    """Raise ConfigError when a legend is empty, or names a value or a class twice, or a colour is none."""
    if not classes:
        raise ConfigError("no classes are named", where=where, mend="name at least one class")
    for what, items in (("value", [str(c.value) for c in classes]), ("name", [c.name for c in classes])):
        twice = sorted({i for i in items if items.count(i) > 1})
        if twice:
            raise ConfigError(
                f"class {what} {', '.join(twice)} is used twice", where=where, mend="use it once"
            )
    for c in classes:
        if not all(0 <= part <= 255 for part in c.color):
            raise ConfigError(f"colour {c.color} of class {c.name} is not 0 to 255", where=where)
