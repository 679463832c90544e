"""Every file of test vectors in some folders, each by the family that understands it.

A file that nobody understands is a failed row: a set of vectors that is only half read proves nothing.
"""

from __future__ import annotations

import gc
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from swath.contract import InputContract
from swath.errors import InputError, SwathError
from swath.ledger import spectralgpt, swin
from swath.ledger.row import EXACT, LedgerRow, failed

_CONTRACT = "contract_"  # contracts of files of weights, of every format_version so far
_CHUNK = 1 << 22


@dataclass(frozen=True)
class Checked:
    """A file and its rows.

    Attributes:
        path: as it was found.
        rows: at least one.
        seconds: it took.
    """

    path: Path
    rows: tuple[LedgerRow, ...]
    seconds: float


def find_files(folders: Iterable[Path | str]) -> list[Path]:
    """Files of vectors in folders and the folders below them, sorted; READMEs and hidden files are none.

    Raises:
        InputError: there is no such folder, or nothing in it.
    """
    found: list[Path] = []
    for folder in map(Path, folders):
        if not folder.is_dir():
            what = "is a file, not a folder" if folder.exists() else "no such folder"
            raise InputError(what, where=folder, mend="name a folder of test vectors")
        files = sorted(path for path in folder.rglob("*") if path.is_file() and _counts(path, folder))
        if not files:
            raise InputError("holds no test vectors", where=folder, mend="name a folder of test vectors")
        found += files
    return found


def check_files(paths: Sequence[Path]) -> Iterator[Checked]:
    """The rows of each file, one file after the other; no error of a file stops the rest.

    A file that is equal, byte for byte, to one of that name before it takes over its rows.
    """
    seen: dict[tuple[str, str], tuple[LedgerRow, ...]] = {}
    for path in paths:
        began = time.perf_counter()
        try:
            key = _identity(path)
            if key not in seen:
                seen[key] = tuple(_rows(path)) or (failed(path.name, "file", "it gave no rows"),)
            rows = seen[key]
        except OSError as err:
            rows = (failed(path.name, "file", f"cannot be read ({err.strerror or err})"),)
        gc.collect()  # full-size networks, one at a time
        yield Checked(path, tuple(replace(r, file=str(path)) for r in rows), time.perf_counter() - began)


def check_file(path: Path | str) -> Checked:
    """The rows of one file."""
    return next(check_files([Path(path)]))


def _counts(path: Path, folder: Path) -> bool:
    parts = path.relative_to(folder).parts
    return not path.name.upper().startswith("README") and not any(part.startswith(".") for part in parts)


def _identity(path: Path) -> tuple[str, str]:
    """(name, hash) of what decides the rows: a table of losses is read with the vectors beside it."""
    digest = hashlib.sha256()
    beside = sorted(path.parent.glob("*.safetensors")) if path.name == "losses.json" else []
    for file in (path, *beside):
        with file.open("rb") as opened:
            while chunk := opened.read(_CHUNK):
                digest.update(chunk)
    return path.name, digest.hexdigest()


def _rows(path: Path) -> list[LedgerRow]:
    try:
        check = _understanding(path)
        if check is None:
            return [failed(path.name, "file", "is no kind of test vector that is known")]
        return check(path)
    except Exception as err:  # a vector that breaks a network is a failed row, and the next file's turn
        return [failed(path.name, "file", f"cannot be used ({type(err).__name__}: {err})")]


def _understanding(path: Path) -> Callable[[Path], list[LedgerRow]] | None:
    """How to check this file."""
    if _is_contract(path):
        return _check_contract
    if spectralgpt.understands(path):
        return spectralgpt.check
    return swin.check if swin.understands(path) else None


def _is_contract(path: Path) -> bool:
    return path.suffix == ".json" and path.name.startswith(_CONTRACT)


def _check_contract(path: Path) -> list[LedgerRow]:
    """A contract of an earlier version, read and written again."""
    try:
        said = json.loads(path.read_text("utf-8"))
        again = json.loads(json.dumps(InputContract.from_dict(said, path.name).to_dict()))
    except (SwathError, ValueError, KeyError, TypeError, AttributeError) as err:
        return [failed(path.name, "contract", f"cannot be read ({err})")]
    equal = again == said
    note = "read and written again" if equal else "is another when it is written again"
    return [LedgerRow(path.name, "contract", 0.0 if equal else float("inf"), *EXACT, equal, note)]
