"""Configuration files: a strict reader of YAML that knows the line of every key, and the packaged recipes.

Stricter than plain YAML where plain YAML surprises: a key given twice is an error, only `true` and `false`
are booleans (a band may be called NO), dates stay text, and 1e-4 is a number.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swath.errors import ConfigError

if TYPE_CHECKING:
    import yaml

SUFFIXES = (".yaml", ".yml")
_NUMBER = re.compile(r"[-+]?((\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][-+]?\d+)?|\.(inf|Inf))$|\.(nan|NaN)$")
_WHOLE = re.compile(r"[-+]?\d[\d_]*$")
_BOOLEAN = re.compile(r"(true|True|TRUE|false|False|FALSE)$")
_TAG = "tag:yaml.org,2002:"
_REPLACED = {_TAG + name for name in ("int", "float", "bool", "timestamp")}


@dataclass(frozen=True)
class YamlFile:
    """A mapping read from a file, and the line (from 1) of each dotted key."""

    path: Path
    values: dict[str, Any]
    lines: dict[str, int]

    def where(self, key: str = "") -> str:
        """`file:line` of a dotted key, or of the nearest key above it."""
        while key and key not in self.lines:
            key = key.rpartition(".")[0]
        return f"{self.path}:{self.lines[key]}" if key else str(self.path)


def read_yaml(path: Path) -> YamlFile:
    """Read a configuration file.

    Raises:
        ConfigError: the file cannot be read, is not YAML, is empty, is not a mapping or gives a key twice.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigError("no such file", where=path, mend="check the path") from None
    except UnicodeDecodeError:
        raise ConfigError(
            "is not text in UTF-8, so it is no YAML file",
            where=path,
            mend="give a .yaml file, saved as UTF-8",
        ) from None
    except OSError as e:
        raise ConfigError(f"cannot be read ({e.strerror})", where=path) from None
    lines: dict[str, int] = {}
    values = _parse(text, path, lines)
    if values is None:
        raise ConfigError("is empty", where=path, mend="give at least one 'key: value' line")
    if not isinstance(values, dict):
        kind = "list" if isinstance(values, list) else "single value"
        raise ConfigError(f"holds a {kind}, not a mapping", where=path, mend="write 'key: value' lines")
    return YamlFile(path, values, lines)


def parse_value(text: str, where: str) -> Any:
    """Read one value given on the command line, such as `3`, `[1, 2]` or `{a: 1}`."""
    return _parse(text, where, {})


def recipes() -> dict[str, Path]:
    """The packaged recipes by name, sorted."""
    folder = Path(str(resources.files("swath"))) / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def recipe_title(path: Path) -> str:
    """The first comment line of a recipe says what it is for."""
    first = path.read_text("utf-8").partition("\n")[0]
    return first.lstrip("# ").strip() if first.startswith("#") else ""


def recipe_verb(path: Path) -> str:
    """The verb that a recipe is for, found without a parser to keep help quick; may be empty."""
    found = re.search(r"^verb:\s*([\w-]+)", path.read_text("utf-8"), re.MULTILINE)
    return "" if found is None else found.group(1)


def find_config(name: str | Path) -> Path:
    """A YAML file by its path, or a packaged recipe by its name.

    Raises:
        ConfigError: neither exists; names the nearest recipe.
    """
    path = Path(name)
    if path.suffix in SUFFIXES or len(path.parts) > 1:
        return path
    known = recipes()
    if str(name) in known:
        return known[str(name)]
    if path.is_file():
        return path
    near = difflib.get_close_matches(str(name), list(known), n=1)
    listed = f"the recipes are: {', '.join(known)}" if known else "this version has no packaged recipes"
    hint = f"did you mean '{near[0]}'?" if near else f"{listed}; or give the path of a .yaml file"
    raise ConfigError(f"no recipe is called '{name}'", mend=hint)


def _parse(text: str, where: object, lines: dict[str, int]) -> Any:
    import yaml

    loader = _loader()(text)
    try:
        node = loader.get_single_node()
        return None if node is None else _construct(loader, node, "", where, lines)
    except yaml.MarkedYAMLError as e:
        line = "" if e.problem_mark is None else f":{e.problem_mark.line + 1}"
        tab = "'\\t'" in str(e.problem)
        what = "a tab stands where only spaces may" if tab else f"is not YAML ({e.problem or e.context})"
        mend = "indent with spaces" if tab else "mend the line"
        raise ConfigError(what, where=f"{where}{line}", mend=mend) from None
    except yaml.YAMLError as e:
        raise ConfigError(f"is not YAML ({e})", where=where) from None
    except RecursionError:
        raise ConfigError("refers to itself or is nested too deeply", where=where) from None
    except ValueError as e:  # a tag that its value does not fit, such as `!!int five`
        raise ConfigError(f"is not YAML ({e})", where=where) from None
    finally:
        loader.dispose()


def _construct(
    loader: yaml.SafeLoader, node: yaml.Node, prefix: str, where: object, lines: dict[str, int]
) -> Any:
    """Build plain values from nodes; unlike the loader's own way it sees duplicate keys and keeps lines."""
    import yaml

    if isinstance(node, yaml.MappingNode):
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError("a key must be a plain word", where=f"{where}:{line}")
            key = str(key_node.value)
            if key in values:
                twice = f"the key '{prefix}{key}' is given twice"
                raise ConfigError(twice, where=f"{where}:{line}", mend="keep one of the two")
            lines[prefix + key] = line
            values[key] = _construct(loader, value_node, f"{prefix}{key}.", where, lines)
        return values
    if isinstance(node, yaml.SequenceNode):
        return [_construct(loader, v, f"{prefix}{i}.", where, lines) for i, v in enumerate(node.value)]
    return loader.construct_object(node)


def _loader() -> type[yaml.SafeLoader]:
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML ships no types
        """The safe loader with other rules for numbers, booleans and dates."""

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in rules if tag not in _REPLACED]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    # The first rule that fits counts: 5 is whole. 010 is ten and 12:30 is text, unlike in YAML 1.1.
    Loader.add_implicit_resolver(_TAG + "int", _WHOLE, list("-+0123456789"))
    Loader.add_implicit_resolver(_TAG + "float", _NUMBER, list("-+0123456789."))
    Loader.add_implicit_resolver(_TAG + "bool", _BOOLEAN, list("tTfF"))
    Loader.add_constructor(_TAG + "int", lambda loader, node: int(loader.construct_scalar(node)))
    return Loader
