"""Results as a table: on the terminal, as JSON, HTML and Markdown, from one value."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from swath.files import atomic

Value = float | Sequence[float] | None
NONE = "–"


@dataclass(frozen=True)
class Metric:
    """One column.

    Attributes:
        key: its name in JSON, such as "macro_f1".
        title: as a person reads it.
        better: which end is good, so that the best is marked; "neither" for counts.
        form: of a number, in format()'s language.
    """

    key: str
    title: str
    better: Literal["higher", "lower", "neither"] = "higher"
    form: str = ".3f"


@dataclass(frozen=True)
class Row:
    """One line: a value per metric, or several (one per seed), or None where there is none."""

    name: str
    values: Mapping[str, Value]
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Rows with metrics, and what must be said with them."""

    title: str
    metrics: tuple[Metric, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def runs(self, row: Row, metric: Metric) -> tuple[float, ...]:
        """The finite values in that cell."""
        value = row.values.get(metric.key)
        several = () if value is None else (value,) if isinstance(value, int | float) else tuple(value)
        return tuple(float(v) for v in several if math.isfinite(v))

    def text(self, row: Row, metric: Metric) -> str:
        """A cell: the value, or the mean and standard deviation of several; a dash for none."""
        runs = self.runs(row, metric)
        if not runs:
            return NONE
        said = format(mean(runs), metric.form)
        return said if len(runs) == 1 else f"{said} ± {format(stdev(runs), metric.form)}"

    def best(self, metric: Metric) -> tuple[str, ...]:
        """Names of the rows with the best mean; more than one where they read the same."""
        means = {row.name: mean(runs) for row in self.rows if (runs := self.runs(row, metric))}
        if metric.better == "neither" or len(means) < 2:
            return ()
        top = (max if metric.better == "higher" else min)(means.values())
        return tuple(name for name, v in means.items() if format(v, metric.form) == format(top, metric.form))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types: `values` are means, `runs` the single values."""
        rows = []
        for row in self.rows:
            runs = {m.key: list(self.runs(row, m)) for m in self.metrics}
            rows.append(
                {
                    "name": row.name,
                    "values": {k: mean(v) if v else None for k, v in runs.items()},
                    "runs": runs,
                    "best": [m.key for m in self.metrics if row.name in self.best(m)],
                    "note": row.note,
                }
            )
        metrics = [{"key": m.key, "title": m.title, "better": m.better} for m in self.metrics]
        return {"title": self.title, "metrics": metrics, "rows": rows, "notes": list(self.notes)}

    def write_json(self, path: str | Path) -> Path:
        """The table as a JSON file, replacing one of that name. Raises OutputError if it cannot."""
        with atomic(path) as part:
            part.write_text(json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return Path(path)

    def print(self, console: Console | None = None) -> None:
        """To the terminal; the best of every column is bold and starred."""
        out = Console() if console is None else console
        table = RichTable(title=self.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
        table.add_column("", overflow="fold")
        for m in self.metrics:
            table.add_column(m.title, justify="right")
        for row in self.rows:
            cells = []
            for m in self.metrics:
                best = row.name in self.best(m)
                cells.append(
                    Text(f"{self.text(row, m)} {'*' if best else ' '}", style="bold green" if best else "")
                )
            name = Text(row.name)
            if row.note:
                name.append(f"\n{row.note}", style="dim")
            table.add_row(name, *cells)
        out.print(table)
        for note in self.notes:
            out.print(Text(f"• {note}", style="dim"))

    def to_html(self) -> str:
        """A table element; the page's style makes it scroll on narrow screens."""
        head = "".join(f'<th scope="col" class="n">{escape(m.title)}</th>' for m in self.metrics)
        lines = [f'<thead><tr><th scope="col"></th>{head}</tr></thead>', "<tbody>"]
        for row in self.rows:
            note = f"<small>{escape(row.note)}</small>" if row.note else ""
            cells = []
            for m in self.metrics:
                text = escape(self.text(row, m))
                best = row.name in self.best(m)
                cells.append(
                    f'<td class="n best"><b>{text}</b></td>' if best else f'<td class="n">{text}</td>'
                )
            lines.append(f'<tr><th scope="row">{escape(row.name)}{note}</th>{"".join(cells)}</tr>')
        lines.append("</tbody>")
        return "<table>" + "\n".join(lines) + "</table>"

    def to_markdown(self) -> str:
        """For a README; the best is bold, notes follow."""
        lines = [
            "| | " + " | ".join(m.title for m in self.metrics) + " |",
            "|---" * (len(self.metrics) + 1) + "|",
        ]
        lines[1] = "|---|" + "---:|" * len(self.metrics)
        for row in self.rows:
            cells = [
                f"**{self.text(row, m)}**" if row.name in self.best(m) else self.text(row, m)
                for m in self.metrics
            ]
            name = f"{row.name} ({row.note})" if row.note else row.name
            lines.append(f"| {name.replace('|', '/')} | " + " | ".join(cells) + " |")
        return "\n".join([*lines, *(f"\n{note}" for note in self.notes)]) + "\n"
