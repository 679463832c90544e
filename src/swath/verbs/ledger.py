"""`swath ledger`: what equals what, as a table."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from swath.errors import ConfigError
from swath.words import counted

if TYPE_CHECKING:
    from swath.ledger.row import LedgerRow

POSITIONAL = ()
_LOG = logging.getLogger("swath.ledger")
_WRONG = 1


@dataclass(frozen=True)
class LedgerConfig:
    """Show what equals what.

    Attributes:
        golden: folders of test vectors, made by running published codes; every file in them and below is compared.
            May be given several times.
        paths: compare the fast paths with their slow, plain twins, in forward, gradient and 50 steps of training.
        only: of these paths, those whose names hold one of these words.
        steps: of training, for --paths.
        write: also write the table of --paths to this Markdown file.
    """

    golden: tuple[str, ...] = ()
    paths: bool = False
    only: tuple[str, ...] = ()
    steps: int = 50
    write: str = ""

    def __post_init__(self) -> None:
        if not self.golden and not self.paths:
            raise ConfigError(
                "nothing is chosen to compare", where="ledger", mend="give --golden FOLDER, --paths, or both"
            )
        if self.steps < 1:
            raise ConfigError(f"{self.steps} is below 1", where="steps", mend="give 1 or more")
        if (self.write or self.only) and not self.paths:
            where = "write" if self.write else "only"
            raise ConfigError("is for the table of fast paths", where=where, mend="give --paths with it")


@dataclass(frozen=True)
class LedgerResult:
    """The rows.

    Attributes:
        rows: in the order they were made.
        files: of test vectors that were read.
        seconds: by file or path, what it took.
    """

    rows: tuple[LedgerRow, ...]
    files: int
    seconds: dict[str, float]

    @property
    def failed(self) -> tuple[LedgerRow, ...]:
        """The rows that are wrong."""
        return tuple(row for row in self.rows if row.wrong)

    @property
    def exit_code(self) -> int:
        """0 if no row is wrong."""
        return _WRONG if self.failed else 0

    def to_dict(self) -> dict[str, Any]:
        """For --json."""
        return {
            "passed": not self.failed,
            "files": self.files,
            "counts": self.counts(),
            "rows": [row.to_dict() for row in self.rows],
            "seconds": self.seconds,
        }

    def counts(self) -> dict[str, int]:
        """How many rows passed, failed and did not run."""
        states = [row.status for row in self.rows]
        return {name: states.count(status) for name, status in _STATES}

    def summary(self) -> str:
        """The table; what failed stands once more below it."""
        head = ("file", "quantity", "max abs error", "tolerance", "", "")
        lines = [head, *(row_texts(row) for row in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        table = [
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        ]
        counts = ", ".join(f"{n} {name}" for name, n in self.counts().items() if n or name != "not run")
        told = [f"FAIL  {row.file}: {row.quantity}: {row.note or row_texts(row)[2]}" for row in self.failed]
        of = f" of {counted(self.files, 'file')}" if self.files else ""
        return "\n".join([*table, "", *told, f"{counted(len(self.rows), 'row')}{of}: {counts}"])


_STATES = (("passed", "pass"), ("failed", "FAIL"), ("not run", "not run"))


def run(config: LedgerConfig) -> LedgerResult:
    """Compares.

    Raises:
        SwathError: a folder is missing or empty.
    """
    rows: list[LedgerRow] = []
    seconds: dict[str, float] = {}
    files = 0
    if config.golden:
        from swath.ledger.golden import check_files, find_files

        found = find_files(config.golden)
        for checked in check_files(found):
            files += 1
            rows += checked.rows
            seconds[str(checked.path)] = round(checked.seconds, 3)
            wrong = sum(row.wrong for row in checked.rows)
            said = counted(len(checked.rows), "row")
            said = f"{wrong} of {said} FAILED" if wrong else said
            _LOG.info("%s: %s, %.1f s", checked.path, said, checked.seconds)
    if config.paths:
        from swath.ledger.paths import check_path, find_paths

        chosen = find_paths(config.only)
        fresh: list[LedgerRow] = []
        for path in chosen:
            checked_path = check_path(path, config.steps)
            fresh += checked_path.rows
            seconds[path.name] = round(checked_path.seconds, 3)
            _LOG.info("%s: %.1f s", path.name, checked_path.seconds)
        rows += fresh
        if config.write:
            from swath.files import atomic
            from swath.ledger.page import page

            with atomic(config.write) as part:
                part.write_text(page(chosen, fresh, config.steps), encoding="utf-8")
    return LedgerResult(tuple(rows), files, seconds)


def row_texts(row: LedgerRow) -> tuple[str, str, str, str, str, str]:
    """A row's cells."""
    error = "-" if row.error == float("inf") else f"{row.error:.2e}"
    tolerance = "exact" if row.atol == row.rtol == 0 else f"{row.atol:.0e}"
    if row.rtol:
        tolerance += f" + {row.rtol:.0e} rel"
    return row.file, row.quantity, error, tolerance, row.status, row.note


__all__ = ["LedgerConfig", "LedgerResult", "row_texts", "run"]
