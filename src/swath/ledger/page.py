"""The table of fast paths as a page of the documentation."""

from __future__ import annotations

from collections.abc import Sequence

from swath.ledger.paths import QUANTITIES, FastPath
from swath.ledger.row import LedgerRow

_HEAD = """# The ledger

`swath` has fast forms of what is simple, and weights that others published. The ledger says what equals what, with
numbers, and `swath ledger` makes them again:

```console
swath ledger --golden tests/golden
swath ledger --paths
```

Both print a row for each comparison (`--json` for programs) and exit with 1 if one is wrong.

## Ours and the published codes

`--golden FOLDER` runs every file of test vectors in the folder and below it: the weights in a file go through the same
converters as `swath convert`, our network eats the file's input, and its losses, predictions, latents, logits and
gradients are compared with those that the published code gave. Lists of published names must convert with nothing left
over and nothing invented, and come back bit for bit. A file that is not understood is a row that failed.

| numbers | tolerance |
|---|---|
| small networks in float32 | 2e-5 + 1e-4 of the value |
| the full-size dense networks (109 M parameters) in float32 | 1e-4 |
| arrays that end in `_f64`, in double | 1e-9 + 1e-9 of the value |
| weights there and back, indices, masks | none |

`tests/golden` holds vectors of SpectralGPT, its classifier and its change network, of Video Swin, and of Swin-MAE with
its U-net. They are small, but for the change network and the lists of names, which are of full size.

## Fast paths and their plain twins

Tiny networks, with gaps in pixels and dates, odd sizes and shuffled bands, run as a training step runs them. The
plain twin of each (`swath.ledger.twins`) is a second program of the same mathematics: it goes sample by sample and
token by token, leaves out what is invalid instead of masking it, attends over the whole map with forbidden pairs
instead of cutting windows, writes out softmax, norms and the optimiser, and shares no code with the models. Both
start from the same parameters and see the same batches.

* **forward**: the loss, and every reconstructed pixel.
* **gradient**: of every parameter.
* **{steps} steps**: the loss at every step of training, and after the last.

A cell is the largest absolute difference from the twin in float64, and what it may be: an absolute part, and a part
of the value. Tests break each path on purpose, by a position embedding, a relative bias, the mask of shifted windows
or a term of the loss left out, or bands and dates exchanged, and every row must notice.

"""
_TAIL = """
Made by `swath ledger --paths --write docs/ledger.md` (`make ledger-docs`) with float64 on a CPU, but for bf16.
"""


def page(paths: Sequence[FastPath], rows: Sequence[LedgerRow], steps: int) -> str:
    """Markdown: what the ledger is, and the rows of the fast paths."""
    names = [f"{steps} steps" if quantity == "training" else quantity for quantity in QUANTITIES]
    lines = [f"| path | {' | '.join(names)} | |", "|---|" + "---:|" * len(names) + "---|"]
    for path in paths:
        mine = [row for row in rows if row.file == path.name]
        told = "pass" if all(row.passed for row in mine) else ", ".join(sorted({row.status for row in mine}))
        cells = " | ".join(_cell(row) for row in mine)
        lines.append(f"| **{path.name}**: {path.what} | {cells} | {told} |")
    return _HEAD.replace("{steps}", str(steps)) + "\n".join(lines) + "\n" + _TAIL


def _cell(row: LedgerRow) -> str:
    """Error and tolerance; differences of a rounding or two differ between machines and say no more than that."""
    if not row.ran:
        return "not run"
    error = "< 1e-12" if row.error < 1e-12 else f"{row.error:.0e}"
    return f"{error} of {row.atol:.0e} + {row.rtol:.0e}"
