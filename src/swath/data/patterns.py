"""Patterns of file names: "{place}/{date:%Y%m%d}_{band}.tif" says which file is which.

Fields are `{place}`, `{band}` and `{date:FORMAT}` (a strptime format; "%Y%m%d" if left out). `*` stands for any
characters within one folder. A place may hold folders ("{place}" matches "north/a"), the others may not.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from swath.errors import ConfigError, InputError

_FIELD = re.compile(r"\{(\w+)(?::([^}]*))?\}|(\*)")
_CODES = {"Y": r"\d{4}", "y": r"\d{2}", "m": r"\d{2}", "d": r"\d{2}", "j": r"\d{3}", "H": r"\d{2}"} | {
    "M": r"\d{2}",
    "S": r"\d{2}",
}
FIELDS = ("place", "band", "date")


@dataclass(frozen=True)
class Found:
    """One file and what its name says; fields that the pattern lacks are empty or None."""

    path: str
    place: str
    band: str
    date: dt.date | None


@dataclass(frozen=True)
class Pattern:
    """A compiled pattern; use `compile_pattern`."""

    text: str
    regex: re.Pattern[str]
    fields: frozenset[str]
    date_format: str


def compile_pattern(text: str, where: str = "images") -> Pattern:
    """The pattern of a text. Raises ConfigError for an unknown or repeated field, or date format."""
    parts: list[str] = []
    fields: list[str] = []
    date_format = "%Y%m%d"
    end = 0
    for match in _FIELD.finditer(text):
        parts.append(re.escape(text[end : match.start()]))
        end = match.end()
        if match[3]:
            parts.append(r"[^/]*")
            continue
        name = match[1]
        if name not in FIELDS:
            raise ConfigError(
                f"'{text}' has an unknown field '{name}'", where=where, mend=f"use {', '.join(FIELDS)}"
            )
        if name in fields:
            raise ConfigError(
                f"'{text}' has {{{name}}} twice", where=where, mend="use it once, and * elsewhere"
            )
        fields.append(name)
        if name == "date":
            date_format = match[2] or date_format
            parts.append(f"(?P<date>{_date_regex(date_format, where)})")
        else:
            parts.append(rf"(?P<{name}>{'.+?' if name == 'place' else '[^/]+?'})")
    rest = text[end:]
    if "{" in rest or "}" in rest:
        raise ConfigError(
            f"'{text}' has a brace without its pair", where=where, mend="write fields as {place}"
        )
    return Pattern(text, re.compile("".join(parts) + re.escape(rest)), frozenset(fields), date_format)


def _date_regex(form: str, where: str) -> str:
    parts: list[str] = []
    i = 0
    while i < len(form):
        if form[i] == "%":
            code = form[i + 1 : i + 2]
            if code not in _CODES:
                raise ConfigError(
                    f"date format '{form}' has '%{code}'", where=where, mend=f"use %{', %'.join(_CODES)}"
                )
            parts.append(_CODES[code])
            i += 2
        else:
            parts.append(re.escape(form[i]))
            i += 1
    return "".join(parts)


def list_files(root: Path) -> list[str]:
    """Files below a folder, relative, sorted, through links to folders; hidden ones and macOS's `._*` are left out."""
    if not root.is_dir():
        raise InputError("there is no such folder", where=root, mend="check the path")
    return sorted(p.relative_to(root).as_posix() for p in _files_below(root, frozenset()))


def _files_below(folder: Path, above: frozenset[Path]) -> Iterator[Path]:
    real = folder.resolve()
    if real in above:  # a link to a folder that holds it
        return
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _files_below(path, above | {real})
        elif path.is_file():
            yield path


def match_files(pattern: Pattern, names: Iterable[str], root: Path, where: str = "images") -> list[Found]:
    """The files that a pattern matches, in order of (place, date, band).

    Raises:
        InputError: none matches, two say they are the same, or a date is none of the calendar.
    """
    found: dict[tuple[str, str, dt.date | None], Found] = {}
    for name in names:
        match = pattern.regex.fullmatch(name)
        if match is None:
            continue
        said = match.groupdict()
        date = None
        if "date" in said:
            try:
                date = dt.datetime.strptime(said["date"], pattern.date_format).date()
            except ValueError:
                raise InputError(
                    f"'{said['date']}' is no date of the form {pattern.date_format}",
                    where=root / name,
                    mend=f"rename it, or correct the pattern of {where}",
                ) from None
        here = Found(str(root / name), said.get("place", ""), said.get("band", ""), date)
        key = (here.place, here.band, date)
        if key in found:
            same = " and ".join(
                f"{what} {value}"
                for what, value in (("place", here.place), ("band", here.band), ("date", date))
                if value
            )
            raise InputError(
                f"the pattern '{pattern.text}' takes both this file and {found[key].path} for {same or 'one image'}",
                where=here.path,
                mend="make the pattern tell them apart",
            )
        found[key] = here
    if not found:
        raise InputError(
            f"no file matches the pattern '{pattern.text}'",
            where=root,
            mend=f"correct {where}, which counts from that folder",
        )
    return sorted(found.values(), key=lambda f: (f.place, f.date or dt.date.min, f.band))
