"""Write bench/results/demo.json from the table of `make demo-full`.

python tools/demo_record.py runs/demo/table.json bench/results/demo.json
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

from swath.bench.record import about

# Short names that stay, whatever the table's titles become.
NAMES = {
    "(a)": "st_swin_unet_pretrained",
    "(b)": "st_swin_unet_scratch",
    "(c)": "forest_pixel",
    "(d)": "forest_neighbours",
    "(e)": "unet_scratch",
    "(f)": "st_swin_unet_pretrained_west",
    "(g)": "sparse_st_swin_unet_pretrained",
    "(h)": "sparse_st_swin_unet_scratch",
    "(i)": "sparse_forest_neighbours",
}
# What each row is held against: the same labels without pretraining, or the stronger forest.
BASELINE = {"(a)": "(b)", "(b)": "(d)", "(d)": "(c)", "(e)": "(d)", "(f)": "(b)", "(g)": "(h)", "(h)": "(i)"}


def main(table: Path, target: Path) -> None:
    """Reads the table, writes the records."""
    data = json.loads(table.read_text("utf-8"))
    rows = {row["name"][:3]: row for row in data["rows"]}
    common = about("make demo-full")
    records = []
    for key, row in sorted(rows.items()):
        for metric, runs in row["runs"].items():
            value = statistics.median(runs)
            other = rows.get(BASELINE.get(key, ""))
            baseline = None if other is None else statistics.median(other["runs"][metric])
            records.append(
                {
                    "measure": f"transfer.demo_landsat.{NAMES[key]}.{metric}",
                    "value": round(value, 4),
                    "unit": "share",
                    "baseline": None if baseline is None else round(baseline, 4),
                    "ratio": None if baseline is None else round(value / baseline, 3),
                    "runs": [round(x, 4) for x in runs],
                    **common,
                    "note": row["name"] if other is None else f"{row['name']}; baseline {other['name']}",
                }
            )
    target.write_text(json.dumps(records, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
