"""The section "Measured" of docs/transfer.md, made of the records alone.

    python -m swath.bench.transfer_docs [--results bench/results/transfer.json] [--page docs/transfer.md]

`make transfer-docs` runs it; a test compares the page with the records. A record's measure is `SET.SCORE.ROW`, with
`.SHARE` behind it where rows are measured over shares of the labels.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from swath.errors import InputError
from swath.files import atomic
from swath.words import counted

RESULTS = Path("bench/results/transfer.json")
PAGE = Path("docs/transfer.md")
BEGIN, END = "<!-- measured: begin; made by `make transfer-docs` -->", "<!-- measured: end -->"
TITLES = {
    "water": "HLS water chips",
    "water_tried": "HLS water chips, what was tried",
    "card": "HLS water chips, the card",
    "otbtf": "OTBTF patches",
    "worldcereal_land_cover": "WorldCereal, land cover",
    "worldcereal_crops": "WorldCereal, crops",
    "taizhou": "Taizhou",
    "landsat_clouds": "Landsat 5 clouds",
    "terramind": "TerraMind's tiles",
    "sen1floods11_s1": "Sen1Floods11, Sentinel-1",
    "sen1floods11_s2": "Sen1Floods11, Sentinel-2",
}
"""Of the data sets, by the first word of the measures; another has its word."""
_ALL = 100
Record = Mapping[str, Any]


def measured(records: Sequence[Record]) -> str:
    """A table for each data set and score, best rows first, with the commands that make it again."""
    tables: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        name, score, _ = str(record["measure"]).split(".", 2)
        tables.setdefault((name, score), []).append(record)
    return "\n\n".join(_table(*key, found) for key, found in sorted(tables.items()))


def _table(name: str, score: str, records: Sequence[Record]) -> str:
    rows: dict[str, dict[int, Record]] = {}
    for record in records:
        row, share = _row(str(record["measure"]).split(".", 2)[2])
        rows.setdefault(row, {})[share] = record
    shares = sorted({share for found in rows.values() for share in found})
    best = sorted(rows, key=lambda row: (*(-_mean(rows[row], share) for share in reversed(shares)), row))
    units = " / ".join(sorted({str(r["unit"]) for r in records}))
    lines = [
        f"### {TITLES.get(name, name)}: {units}",
        "",
        "| row | " + " | ".join(f"{share} % of the labels" for share in shares) + " |",
        "|---|" + "---|" * len(shares),
    ]
    lines += [
        f"| `{row}` | " + " | ".join(_cell(rows[row].get(share)) for share in shares) + " |" for row in best
    ]
    of = f"`{name}.{score}.ROW" + (".SHARE`" if any(_shared(r) for r in records) else "`")
    made = sorted({(str(r["machine"]), int(r["threads"]), str(r["commit"])) for r in records})
    machines = sorted({f"{machine}, {counted(threads, 'thread')}" for machine, threads, _ in made})
    commits = ", ".join(sorted({commit for _, _, commit in made}))
    lines += ["", f"Records {of}; {'; '.join(machines)}; commits {commits}.", "", "```console"]
    lines += sorted({str(r["command"]) for r in records})
    return "\n".join([*lines, "```"])


def _row(rest: str) -> tuple[str, int]:
    """(row, share of the labels in percent) of what follows set and score."""
    row, _, last = rest.rpartition(".")
    return (row, int(last)) if row and last.isdecimal() else (rest, _ALL)


def _shared(record: Record) -> bool:
    return str(record["measure"]).rpartition(".")[2].isdecimal()


def _mean(found: Mapping[int, Record], share: int) -> float:
    return float(found[share]["value"]) if share in found else float("-inf")


def _cell(record: Record | None) -> str:
    """Mean, standard deviation over seeds, and how many they are."""
    if record is None:
        return "–"
    runs = [float(v) for v in record["runs"]]
    if len(runs) == 1:
        return f"{runs[0]:.3f} (1 seed)"
    return f"{statistics.fmean(runs):.3f} ± {statistics.stdev(runs):.3f} ({len(runs)} seeds)"


def put(page: str, text: str, where: object = PAGE) -> str:
    """The page with the text between its marks.

    Raises:
        InputError: the marks are not there, once each and in order.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise InputError("has no place for what was measured", where=where, mend=f"write {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def main() -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    text = put(
        options.page.read_text("utf-8"),
        measured(json.loads(options.results.read_text("utf-8"))),
        options.page,
    )
    with atomic(options.page) as temporary:
        temporary.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
