"""The command line: `swath VERB [RECIPE] [--OPTION VALUE ...]`.

Nothing heavy is imported before a verb runs, so that `swath --help` answers at once. Errors that a person can
mend are one line on stderr with exit code 2; anything else is a bug and shows its traceback.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import errno
import json
import logging
import math
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import swath
from swath.errors import ConfigError, OutputError, SwathError
from swath.training.launched import end_with_launcher
from swath.verbs import registry, schema
from swath.verbs.registry import RECIPE, LoadedVerb

OK, BUG, USER_ERROR, INTERRUPTED = 0, 1, 2, 130
# A full disk, missing rights, a name that is too long or lies within a file: nothing that swath could have known.
_MENDABLE = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENAMETOOLONG,
    errno.ENOTDIR,
    errno.EISDIR,
)
_OTHERS = ("py.warnings", "pytorch_lightning", "lightning", "rasterio", "matplotlib", "fontTools")
"""Loggers whose remarks are for developers."""
GLOBAL_OPTIONS = {
    "config": "a YAML file or recipe; may be given several times, later ones win",
    "json": "print the result as JSON on stdout",
    "verbose": "say more, and show the traceback of errors",
    "help": "show this help and exit",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: the words after `swath`; those of the process if None.

    Returns:
        The exit code: 0, or what the result of the verb says (1 where something that was checked is wrong),
        2 for an error that the user can mend, 130 if interrupted, 1 for a bug in swath.
    """
    end_with_launcher()
    words = list(sys.argv[1:] if argv is None else argv)
    verbose = "--verbose" in words or "-v" in words
    try:
        code = _dispatch(words)
        sys.stdout.flush()  # a closed pipe shows itself here, not when python exits
        return code
    except SwathError as e:
        return _fail(e, verbose)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (`head`, `less`) has gone; python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except OSError as e:
        if e.errno in _MENDABLE:
            mend = "check the name, its rights and the free space"
            what = e.strerror or "cannot be used"
            return _fail(OutputError(what, where=e.filename or "a file", mend=mend), verbose)
        return _bug()
    except MemoryError as e:
        what = f"memory does not suffice ({e})" if str(e) else "memory does not suffice"
        return _fail(SwathError(what, mend="use smaller blocks or batches, or fewer workers"), verbose)
    except Exception:
        return _bug()


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("--help", "-h", "help"):
        print(_top_help(), end="")
        return OK
    if words[0] in ("--version", "-V"):
        print(f"swath {swath.__version__}")
        return OK
    if words[0].startswith("-"):
        raise ConfigError("options come after the verb", where=words[0], mend="try 'swath VERB --help'")
    verb = registry.find(words[0]).load()
    line = _split(verb, words[1:])
    if line.help:
        print(_verb_help(verb), end="")
        return OK
    from swath.verbs.config import load_config

    with _loggers_kept():
        _set_up_logging(verbose=line.verbose)
        sources = [*verb.implied_sources(line.options), *line.sources]
        config = load_config(verb.config, sources, line.options, verb=verb.verb.name)
        result = verb.run(config)
    _print_result(result, as_json=line.json)
    return int(getattr(result, "exit_code", OK))


@dataclass
class _Line:
    """The words after a verb, sorted."""

    sources: list[str] = field(default_factory=list)
    options: dict[str, object] = field(default_factory=dict)
    help: bool = False
    json: bool = False
    verbose: bool = False


def _split(verb: LoadedVerb, words: Sequence[str]) -> _Line:
    """Sort the words after a verb into sources, options and switches."""
    line = _Line()
    free_places = list(verb.positional)
    rest = iter(range(len(words)))
    only_places = False
    for i in rest:
        word = words[i]
        if word == "--" and not only_places:
            only_places = True
        elif only_places or not word.startswith("-") or word == "-":
            _place(line, word, free_places, verb)
        elif word in ("--help", "-h"):
            line.help = True
        elif word == "--json":
            line.json = words[i + 1 : i + 2] != ["false"]
            if words[i + 1 : i + 2] in (["true"], ["false"]):
                next(rest)
        elif word in ("--verbose", "-v"):
            line.verbose = True
        elif word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            name = name.replace("-", "_")
            if not equals:
                following = words[i + 1] if i + 1 < len(words) else None
                missing = following is None or following.startswith("--")
                if missing and _is_switch(verb, name):
                    value = "true"
                elif following is None or missing:
                    _refuse_unknown(verb, name)
                    raise ConfigError("needs a value", where=f"--{name}", mend=f"write --{name} VALUE")
                else:
                    value = following
                    next(rest)
            if name == "config":
                line.sources.append(value)
            else:
                _set(line, verb, name, value)
        else:
            raise ConfigError("unknown option", where=word, mend="options are written --NAME VALUE")
    return line


def _place(line: _Line, word: str, free: list[str], verb: LoadedVerb) -> None:
    """A word without an option's name: a recipe is known as one in whichever place it stands."""
    name = RECIPE if RECIPE in free and _is_recipe(word, verb) else next(iter(free), None)
    if name is None:
        taken = " ".join(p.upper() for p in verb.positional)
        raise ConfigError(
            f"'{word}' is one word too many after 'swath {verb.verb.name} {taken}'",
            mend="options are written --NAME VALUE",
        )
    free.remove(name)
    if name == RECIPE:
        line.sources.append(word)
    else:
        line.options[name] = word


def _is_recipe(word: str, verb: LoadedVerb) -> bool:
    """A YAML file by its name, or a packaged recipe of the verb."""
    from swath.verbs.yaml_file import SUFFIXES, recipe_verb, recipes

    packaged = recipes().get(word)
    return Path(word).suffix in SUFFIXES or (packaged is not None and recipe_verb(packaged) == verb.verb.name)


def _set(line: _Line, verb: LoadedVerb, name: str, value: str) -> None:
    """Keep an option's value; the last one counts, but those of a list add up."""
    key, left = schema.find(verb.config, name)
    before = line.options.get(name)
    if before is None or key is None or left or not key.several:
        line.options[name] = value
    else:
        line.options[name] = [*(before if isinstance(before, list) else [before]), value]


def _is_switch(verb: LoadedVerb, name: str) -> bool:
    key, left = schema.find(verb.config, name)
    return key is not None and not left and key.switch


def _refuse_unknown(verb: LoadedVerb, name: str) -> None:
    """An unknown option is told as such before its missing value is."""
    key, left = schema.find(verb.config, name)
    if name == "config" or (key is not None and (not left or key.free_form)):
        return
    near = schema.nearest(verb.config, name) or next(
        iter(difflib.get_close_matches(name, GLOBAL_OPTIONS, n=1)), None
    )
    mend = f"did you mean '--{near}'?" if near else "see --help for the options"
    raise ConfigError("unknown option", where=f"--{name}", mend=mend)


@contextlib.contextmanager
def _loggers_kept() -> Iterator[None]:
    """Whoever calls `main` from a program finds loggers and warnings as they were."""
    root = logging.getLogger()
    handlers, shown = root.handlers[:], warnings.showwarning
    levels = {name: logging.getLogger(name).level for name in ("", "swath", *_OTHERS)}
    try:
        yield
    finally:
        root.handlers[:] = handlers
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        if warnings.showwarning is not shown:
            logging.captureWarnings(False)


def _set_up_logging(*, verbose: bool) -> None:
    """Log to stderr, so that stdout holds results only; the library itself only ever logs."""
    from rich.console import Console
    from rich.logging import RichHandler

    handler = RichHandler(
        console=Console(stderr=True), show_path=verbose, show_time=verbose, show_level=verbose, markup=False
    )
    handler.setFormatter(logging.Formatter("%(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]  # those of a caller are set aside, not closed
    root.setLevel(logging.WARNING)
    logging.getLogger("swath").setLevel(logging.DEBUG if verbose else logging.INFO)
    # Other libraries' remarks are for developers.
    logging.captureWarnings(True)
    for name in _OTHERS:
        logging.getLogger(name).setLevel(logging.INFO if verbose else logging.ERROR)
    if not verbose:
        # And so are those of torch's own C++, which reads this when it is imported: processes that look for parameters
        # without a gradient, because a batch of unknown dates has some, would each say that there are none in another.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


def _print_result(result: object, *, as_json: bool) -> None:
    """Print what a verb returns: JSON, its own summary, or one line per field."""
    if result is None:
        return
    if as_json:
        to_dict = getattr(result, "to_dict", None)
        print(json.dumps(_jsonable(result if to_dict is None else to_dict()), indent=2, allow_nan=False))
        return
    from rich.console import Console

    summary = getattr(result, "summary", None)
    if summary is not None:
        Console(soft_wrap=True, highlight=False, markup=False).print(summary())
        return
    plain = _jsonable(result)
    for name, value in plain.items() if isinstance(plain, dict) else [("result", plain)]:
        print(f"{name}: {value}")


def _jsonable(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _jsonable(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): _jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_jsonable(v) for v in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None  # JSON has no NaN
    if isinstance(value, Path):
        return str(value)
    item = getattr(value, "tolist", None)  # numpy and torch values
    return _jsonable(item()) if item is not None else str(value)


def _top_help() -> str:
    verbs = registry.available()
    lines = [
        "usage: swath VERB [RECIPE] [--OPTION VALUE ...]",
        "",
        "Maps from raw multispectral, multi-temporal satellite imagery and a few labels.",
        "",
        "verbs:" if verbs else "This installation has no verbs.",
        *(f"  {verb.name:<10}{verb.help}" for verb in verbs),
        "",
        *_recipe_lines(""),
        "options:",
        *(f"  --{name:<10}{text}" for name, text in GLOBAL_OPTIONS.items()),
        f"  --{'version':<10}show the version and exit",
        "",
        "'swath VERB --help' lists the options of a verb. The same names are keys in YAML:",
        "--training.steps 100 is 'training: {steps: 100}'. Options win over files.",
    ]
    return "\n".join(lines) + "\n"


def _verb_help(verb: LoadedVerb) -> str:
    from swath.verbs.config import help_text

    name = verb.verb.name
    places = " ".join(f"[{p.upper()}]" for p in verb.positional)
    usage = f"swath {name} {places} [--OPTION VALUE ...]\n\n{verb.verb.help}"
    lines = [
        help_text(verb.config, usage).rstrip(),
        "",
        *_recipe_lines(name, "recipes:" if RECIPE in verb.positional else "recipes, with --config NAME:"),
        "common options:",
        *(f"  --{name:<10}{text}" for name, text in GLOBAL_OPTIONS.items()),
    ]
    return "\n".join(lines) + "\n"


def _recipe_lines(verb: str, title: str = "recipes:") -> list[str]:
    """The packaged recipes; only those for one verb if it is named."""
    from swath.verbs.yaml_file import recipe_title, recipe_verb, recipes

    found = {name: path for name, path in recipes().items() if not verb or recipe_verb(path) in ("", verb)}
    if not found:
        return []
    width = max(len(name) for name in found) + 2
    return [title, *(f"  {n:<{width}}{recipe_title(p)}".rstrip() for n, p in found.items()), ""]


def _fail(error: SwathError, verbose: bool) -> int:
    if verbose:
        traceback.print_exception(error)
    print(f"error: {error}", file=sys.stderr)
    return USER_ERROR


def _bug() -> int:
    traceback.print_exc()
    print(
        f"This is a bug in swath {swath.__version__}: please report it with the lines above and the command.",
        file=sys.stderr,
    )
    return BUG


if __name__ == "__main__":
    sys.exit(main())
