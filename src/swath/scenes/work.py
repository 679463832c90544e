"""The work folder of a map: which blocks are finished, kept beside the output until the map is whole.

`.map.tif.swath/` holds `manifest.json` (what is being made, and of what), `blocks/` (one file per finished block)
and `blocks.jsonl` (a line with the hash for each); `statistics.json` where the
scene's were measured (`swath.scenes.measured`). A block counts as finished once its line is written, after its
file is on the disk; so a process may be killed at any moment. A lock keeps a second process out.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from swath import __version__
from swath.data.gdal import is_remote
from swath.errors import OutputError
from swath.files import atomic
from swath.scenes.piece import Piece, Record

FORMAT_VERSION = 1
# The hashes of what is being moved beside the output, and a folder that is being replaced.
PARTS, EARLIER = "parts.json", "earlier"
# What `swath.scenes.measured` keeps of the scene.
STATISTICS = "statistics.json"
_KEPT = ("lock", "manifest.json", "blocks.jsonl", "blocks", PARTS, EARLIER, STATISTICS)


class WorkFolder:
    """The folder of one output, locked by this process.

    Args:
        output: the map that is being made.
        about: all that the map's bits depend on, as plain JSON values; two runs with the same may share blocks.
            None: nothing is taken up, and nothing is left.
        overwrite: throw away what was begun with other `about`, instead of refusing.

    Attributes:
        finished: what is known of every finished block, by number.

    Raises:
        OutputError: another process makes this map; or an unfinished map of another kind lies here.
    """

    def __init__(self, output: Path, about: Mapping[str, Any] | None, *, overwrite: bool = False) -> None:
        self.output = output
        self.path = folder_of(output)
        self.about = about
        self.finished: dict[int, Record] = {}
        self._made = [p for p in output.parents if not p.exists()]
        self._lock: BinaryIO | None = None
        self._journal: BinaryIO | None = None
        try:
            self._lock = lock(self.path, output)
            self._begin(overwrite)
        except BaseException:
            # What another run has begun here stays as it is.
            self.close(keep=False, remove=not (self.path / "manifest.json").exists())
            raise

    def put(self, piece: Piece) -> None:
        """Keep a finished block. Raises OutputError, for instance when the disk is full."""
        record = piece.record
        file = self.file(record.block)
        with _writing(self.output):
            with atomic(file) as temporary:
                temporary.write_bytes(piece.data)
            assert self._journal is not None
            self._journal.write(record.to_json().encode() + b"\n")
            self._journal.flush()
            os.fsync(self._journal.fileno())
        self.finished[record.block] = record

    def forget(self) -> None:
        """Nothing of it is of use: `close` will remove the folder."""
        self.finished.clear()

    def file(self, block: int) -> Path:
        """Where the tiles of a block lie."""
        return self.path / _block_file(block)

    def close(self, *, keep: bool, remove: bool = True) -> None:
        """Let go of the folder; without `keep`, or with nothing finished in it, it is removed (if `remove`)."""
        if self._journal is not None:
            with contextlib.suppress(OSError):  # a line that a full disk did not take: it was said
                self._journal.close()
            self._journal = None
        if self._lock is None:
            return
        if remove and not (keep and self.about is not None and self.finished):
            shutil.rmtree(self.path, ignore_errors=True)
            for folder in self._made:  # innermost first; those that hold the map stay
                with contextlib.suppress(OSError):
                    folder.rmdir()
        else:
            self._tidy()
            with contextlib.suppress(OSError):
                self._lock.truncate(0)
        with contextlib.suppress(OSError):
            self._lock.close()
        self._lock = None

    def _tidy(self) -> None:
        """What was being made of the blocks goes: on a full disk it would lie in the way."""
        for path in (*self.path.iterdir(), *(self.path / "blocks").glob("*")):
            with contextlib.suppress(OSError):
                if path.is_dir() and path.name not in _KEPT:
                    shutil.rmtree(path)
                elif path.is_file() and path.name not in _KEPT and path.suffix != ".tiles":
                    path.unlink()

    def _begin(self, overwrite: bool) -> None:
        manifest = self.path / "manifest.json"
        stated = _read_manifest(manifest)
        if stated is not None and self.about is not None and stated == _stated(self.about):
            self._take_up()
        else:
            if stated is not None and not overwrite:
                raise _begun_otherwise(self.output, stated, self.about)
            for old in self.path.iterdir():
                if old.is_dir():
                    shutil.rmtree(old)
                elif old.name != "lock":
                    old.unlink()
        with _writing(self.output):
            (self.path / "blocks").mkdir(exist_ok=True)
            if self.about is not None and not manifest.exists():
                with atomic(manifest) as temporary:
                    temporary.write_text(json.dumps(_stated(self.about), indent=1), encoding="utf-8")
            journal = self.path / "blocks.jsonl"
            # Written anew: a line that was cut short by a kill must not swallow the next one.
            with atomic(journal) as temporary:
                lines = [r.to_json() + "\n" for r in self.finished.values()]
                temporary.write_text("".join(lines), encoding="utf-8")
            self._journal = journal.open("ab")

    def _take_up(self) -> None:
        """Believe a finished block if its file has the hash that its line says."""
        for record in _records(self.path / "blocks.jsonl"):
            with contextlib.suppress(OSError):  # it is computed again
                if digest(self.file(record.block)) == record.sha256:
                    self.finished[record.block] = record


def output_path(name: str) -> Path:
    """Where an output of that name is made.

    Raises:
        OutputError: it has no name, or lies elsewhere than on this machine.
    """
    if is_remote(name):
        raise OutputError(
            "outputs are written on this machine",
            where=name,
            mend="name a local file, and upload it when it is whole",
        )
    if not Path(name).name:
        raise OutputError(
            "no output is named", where=name or None, mend="name the file that is to be written"
        )
    return Path(name)


def folder_of(output: Path) -> Path:
    """The work folder of a map."""
    return output.with_name(f".{output.name}.swath")


def begun_with(output: Path) -> Mapping[str, Any] | None:
    """What an unfinished map beside that name was begun with; None where there is none."""
    stated = _read_manifest(folder_of(output) / "manifest.json")
    about = None if stated is None else stated.get("about")
    return about if isinstance(about, dict) else None


def finished_blocks(output: Path, about: Mapping[str, Any], *, overwrite: bool = False) -> int:
    """How many blocks of an unfinished map with the same `about` need not be computed again; nothing is locked, hashed
    or changed, so that it can be asked while the map is being made.

    Raises:
        OutputError: what lies there was begun with something else, and may not be thrown away (`overwrite`).
    """
    stated = _read_manifest(folder_of(output) / "manifest.json")
    if stated is None:
        return 0
    if stated != _stated(about):
        if overwrite:
            return 0
        raise _begun_otherwise(output, stated, about)
    kept: dict[int, Record] = {}
    for record in _records(folder_of(output) / "blocks.jsonl"):
        with contextlib.suppress(OSError):
            if (folder_of(output) / _block_file(record.block)).stat().st_size == sum(record.lengths):
                kept[record.block] = record
    return sum(not record.holes for record in kept.values())


def lock(folder: Path, output: Path) -> BinaryIO:
    """An open file that this process alone holds, until it is closed or the process ends.

    Raises:
        OutputError: another process holds it.
    """
    path = folder / "lock"
    while True:
        with _writing(output):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                file = path.open("ab+")
            except FileNotFoundError:
                continue  # the other one has just finished and removed the folder
        if not _try_lock(file):
            file.seek(0)
            holder = file.read().decode(errors="replace").strip() or "another process"
            file.close()
            raise OutputError(
                f"is being made by {holder}", where=output, mend="wait for it, or give another name"
            )
        # Between opening and locking, the one before may have removed the folder: then this lock is of no file.
        try:
            same = os.path.samestat(path.stat(), os.fstat(file.fileno()))
        except FileNotFoundError:
            same = False
        if same:
            with contextlib.suppress(OSError):  # a full disk does not take the name; the lock holds without
                file.truncate(0)
                file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
                file.flush()
            return file
        file.close()


def _try_lock(file: BinaryIO) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows
        import importlib

        msvcrt = importlib.import_module("msvcrt")
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def digest(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stated(about: Mapping[str, Any]) -> dict[str, Any]:
    stated = {"format_version": FORMAT_VERSION, "swath": __version__, "about": dict(about)}
    plain: dict[str, Any] = json.loads(json.dumps(stated))  # tuples become lists, as when read back
    return plain


def _read_manifest(path: Path) -> dict[str, Any] | None:
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stated if isinstance(stated, dict) else None


def _block_file(block: int) -> str:
    return f"blocks/{block:08d}.tiles"


def _records(journal: Path) -> Iterator[Record]:
    """What its whole lines say."""
    if not journal.exists():
        return
    for line in journal.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            yield Record.from_json(line)


def _begun_otherwise(output: Path, stated: Mapping[str, Any], about: Mapping[str, Any] | None) -> OutputError:
    return OutputError(
        f"was begun before with {_difference(stated, about)}, and not finished",
        where=output,
        mend=f"run that again to go on, or set overwrite to true to start anew ({folder_of(output).name})",
    )


def _difference(stated: Mapping[str, Any], about: Mapping[str, Any] | None) -> str:
    """The names of what is another."""
    now = _stated(about or {})
    if {k: stated.get(k) for k in ("format_version", "swath")} != {
        k: now[k] for k in ("format_version", "swath")
    }:
        return f"swath {stated.get('swath')}"
    was, new = stated.get("about", {}), now["about"]
    names = sorted(k for k in {*was, *new} if was.get(k) != new.get(k))
    return f"another {', '.join(names[:4])}" if names else "other options"


@contextlib.contextmanager
def _writing(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        raise OutputError(
            f"cannot be written ({err.strerror or err})",
            where=output,
            mend="check the folder, its rights and free space",
        ) from err
