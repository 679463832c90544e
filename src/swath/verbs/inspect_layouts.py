"""`swath inspect --layouts`: which published data sets swath reads, and where they are to be had."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from swath.data.layouts.base import LayoutInfo

_SHOWN_CLASSES = 20


@dataclass(frozen=True)
class LayoutsResult:
    """What is known of each layout; `--json` gives all of it."""

    layouts: tuple[LayoutInfo, ...]

    def summary(self) -> Group:
        """One block for each: its name and title, and what it holds in aligned rows."""
        blocks: list[Any] = []
        for info in self.layouts:
            table = Table.grid(padding=(0, 2))
            table.add_column(style="dim", no_wrap=True)
            table.add_column(overflow="fold")
            for name, value in _rows(info):
                table.add_row(name, Text(value))
            blocks += [Text.assemble((info.name, "bold"), "  ", info.title), Padding(table, (0, 0, 1, 2))]
        return Group(*blocks)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"layouts": [{**asdict(info), "sensors": dict(info.sensors)} for info in self.layouts]}


def list_layouts() -> LayoutsResult:
    """All layouts, in the order of the registry. Opens no data and needs no optional library."""
    from swath.data.layouts.registry import LAYOUTS, layout_class

    return LayoutsResult(tuple(layout_class(name).info for name in LAYOUTS))


def _rows(info: LayoutInfo) -> list[tuple[str, str]]:
    rows = [
        ("for", ", ".join(info.tasks)),
        *((f"bands of {name}", f"{len(bands)}: {' '.join(bands)}") for name, bands in info.sensors.items()),
        ("classes", _classes(info)),
        ("splits", ", ".join(info.splits) or "none"),
        ("items", info.items),
        ("size", f"{info.size}; dates: {info.dates}"),
        ("numbers", info.unit),
        ("licence", info.licence),
        ("from", info.source),
    ]
    rows += [("files" if i == 0 else "", line) for i, line in enumerate(info.files)]
    rows += [("mind" if i == 0 else "", line) for i, line in enumerate(info.notes)]
    return rows


def _classes(info: LayoutInfo) -> str:
    names = [c.name for c in info.classes]
    if not names:
        return "none"
    more = "" if len(names) <= _SHOWN_CLASSES else f", … ({len(names) - _SHOWN_CLASSES} more with --json)"
    return f"{len(names)}: {', '.join(names[:_SHOWN_CLASSES])}{more}"
