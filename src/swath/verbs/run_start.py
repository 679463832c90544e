"""How a run begins: nothing is written before all is checked, and a failed start leaves nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swath.errors import ConfigError
from swath.training.config import FREE_ON_RESUME, SAMPLES_PER_STEP, TrainConfig
from swath.verbs.config import dump_config, plain, to_plain
from swath.verbs.options import RunOptions
from swath.verbs.schema import option_name
from swath.verbs.yaml_file import read_yaml

if TYPE_CHECKING:
    from swath.training.folder import RunFolder

log = logging.getLogger(__name__)
CONFIG = "config.yaml"


def check_start(run: RunOptions, training: TrainConfig, monitors: Collection[str]) -> None:
    """What can be known before anything is read: the folder, the device, and the number to select by.

    Args:
        run: where the run goes.
        training: its options.
        monitors: numbers that the run's validation will give.

    Raises:
        SwathError: naming what does not fit.
    """
    from swath.training.copies import check_copies
    from swath.training.folder import check_run
    from swath.training.precision import choose_device, choose_precision

    check_copies(training.loggers)
    folder = check_run(run.folder, resume=run.resume, overwrite=run.overwrite)
    if run.resume and not folder.exists():
        # A slip in the name would otherwise cost a night.
        log.warning("there is no run in %s to resume: beginning a new one", folder)
    choose_precision(training.precision, choose_device(training.device, "training.device"))
    if training.monitor is not None and training.monitor not in monitors:
        known = f"use {', '.join(monitors)}, or null" if monitors else "set it to null"
        raise ConfigError(
            f"the validation gives no '{training.monitor}'", where="training.monitor", mend=known
        )


@contextlib.contextmanager
def started(config: Any, verb: str) -> Iterator[RunFolder]:
    """The run's folder, opened, with the resolved config in it.

    A new run that fails before its first logged step or checkpoint takes its folder away again.

    Raises:
        SwathError: the folder is taken, another process works in it, or a resumed run began with other options.
    """
    from swath.files import atomic
    from swath.training.claim import claimed
    from swath.training.folder import RunFolder as Folder
    from swath.training.folder import check_run, open_run
    from swath.training.ranks import world

    run: RunOptions = config.run
    path = Path(run.folder)
    if not world().leads:
        yield Folder(path, run.resume)
        return
    written = path / CONFIG
    begun = run.resume and written.is_file()
    if begun:
        check_same(config, written)
    missing = [p for p in (path, *path.parents) if not p.exists()]
    check_run(path, resume=run.resume, overwrite=run.overwrite)
    with claimed(path):
        folder = open_run(path, resume=run.resume, overwrite=run.overwrite)
        try:
            if not begun:
                with atomic(written) as temporary:
                    temporary.write_text(dump_config(config, verb=verb), "utf-8")
            yield folder
        except BaseException:
            if not begun and not _got_anywhere(folder):
                _take_away(folder, missing)
            raise


def check_same(config: Any, written: Path, free: Collection[str] = ()) -> None:
    """A resumed run is the same run: whatever changes its steps must be as it began, but for the groups in `free`."""
    for name, began, given in _differences(read_yaml(written).values, config, usual(config)):
        group, _, leaf = name.partition(".")
        # How many samples a step sees, the checkpoint knows: see TrainConfig.check_continues.
        if group in ("run", "watch", *free) or (
            group == "training" and leaf in (*FREE_ON_RESUME, *SAMPLES_PER_STEP)
        ):
            continue
        raise ConfigError(
            f"the run began with {name} {_short(began)}, not {_short(given)}",
            where=written,
            mend="resume with the same options, or start a new run in another folder",
        )


def _short(value: object, most: int = 100) -> str:
    """A value in a message; stages of many options would fill the screen."""
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def usual(config: Any) -> dict[str, Any]:
    """What each option of a config is where nobody says it, as plain values; of groups, too."""
    found: dict[str, Any] = {}
    for f in dataclasses.fields(config):
        default = f.default if f.default_factory is dataclasses.MISSING else f.default_factory()
        now = getattr(config, f.name)
        if default is not dataclasses.MISSING:
            found[option_name(f)] = plain(default)
        # A group that may be null, and is none by default, has the defaults of its own class.
        if dataclasses.is_dataclass(now) and not isinstance(found.get(option_name(f)), dict):
            found[option_name(f)] = usual(now)
    return found


def _differences(
    earlier: Mapping[str, Any], config: Any, without: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, object, object]]:
    """(key, then, now) where a run is another one.

    A key that the earlier run did not know was what is usual, `without` anybody saying it; one that is known no more is
    left out.
    """
    now = to_plain(config)
    for f in dataclasses.fields(config):
        name, group = option_name(f), getattr(config, f.name)
        if name not in earlier and name not in without:
            continue
        then = earlier[name] if name in earlier else without[name]
        if dataclasses.is_dataclass(group) and isinstance(then, Mapping):
            usually = without.get(name)
            below = usually if isinstance(usually, Mapping) else usual(group)
            yield from _differences(then, group, below, f"{prefix}{name}.")
        elif then != now[name]:
            yield prefix + name, then, now[name]


def _got_anywhere(folder: RunFolder) -> bool:
    from swath.training.metrics_log import read_metrics

    if folder.checkpoints.is_dir() and any(folder.checkpoints.iterdir()):
        return True
    return any(record.get("step", 0) > 0 for record in read_metrics(folder.metrics))


def _take_away(folder: RunFolder, made: list[Path]) -> None:
    """Remove what a start wrote, and the folders it made; whatever else is in them stays."""
    for path in (folder.path / CONFIG, folder.metrics):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
    for path in (folder.checkpoints, *made):
        with contextlib.suppress(OSError):
            path.rmdir()
