"""From recipes, YAML files and options to one typed, frozen config, with errors that say where.

The command line and YAML have the same names, those of the dataclass fields; nested dataclasses are dotted
(`--training.steps 100` is `training: {steps: 100}`). Later sources win: files in their order, then options.
jsonargparse converts the types and writes the help; what it does not do, naming the file and the nearest key,
is done here, before and after it.

    config = load_config(PretrainConfig, ["demo-pretrain-st-swin"], {"training.steps": 100})

Where a dataclass names a shorthand, as scenes do, plain text stands for that field (`swath.verbs.schema`); text for
`data` stands for the layout or the shards that lie in that folder.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from swath.errors import ConfigError, SwathError
from swath.verbs import schema
from swath.verbs.yaml_file import YamlFile, find_config, parse_value, read_yaml

if TYPE_CHECKING:
    import jsonargparse

T = TypeVar("T")


class _Text(str):
    """Text that is shown in a message without quotes."""

    def __repr__(self) -> str:
        return str(self)


_UNKNOWN = object()
FORMAT_VERSION = 1
"""Of configuration files; a file of a later version is refused."""
_RESERVED = ("format_version", "verb")
_JSONARGPARSE_KEY = re.compile(r'Parser key "([^"]+)"')
_VALUE = re.compile(r"(?:Got value|Given value): (.*?)(?: - |$)")
_OPTION = re.compile(r"[a-z]\w*(\.[a-z]\w*)*")
_MOST = 1 << 63
_CLASS = re.compile(r"<class\s+'(?:\w+\.)*(\w+)'>")


def load_config(
    config: type[T],
    sources: Sequence[str | Path] = (),
    options: Mapping[str, object] | None = None,
    *,
    verb: str | None = None,
    flag: str = "--",
) -> T:
    """Build a config from files and options.

    Args:
        config: a dataclass.
        sources: names of packaged recipes or paths of YAML files; later ones win.
        options: values by dotted key, or nested mappings; they win over the files. Text is converted to the
            key's type.
        verb: the verb it is for; a file that says `verb:` must say the same.
        flag: what stands before the name of an option in messages.

    Raises:
        ConfigError: an unknown key, a wrong type, a missing option or an unreadable file, in one line.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for source in sources:
        file = read_yaml(find_config(source))
        _check_reserved(file, verb)
        given = _expand(config, {k: v for k, v in file.values.items() if k not in _RESERVED})
        _check_keys(config, given, file.where)
        _merge(config, values, given)
        origins.update({key: file.where(key) for key in file.lines})
    for given_name, value in (options or {}).items():
        name = schema.short(config).get(given_name, given_name)
        for dotted, single in _place_option(config, name, value, flag):
            origins[dotted] = flag + dotted
            nested: Any = single
            for part in reversed(dotted.split(".")):
                nested = {part: nested}
            _merge(config, values, _expand(config, nested))
    _check_required(config, values, "", flag, origins)
    return _instantiate(config, values, origins)


def laid_over(config: Any, options: Mapping[str, Any], without: Collection[str] = ()) -> dict[str, Any]:
    """A config as plain values with others over it, key by key within its groups, as one file lies over another.

    Of the keys in `without` nothing is left but what the options say.
    """
    values = {key: value for key, value in to_plain(config).items() if key not in without}
    _merge(type(config), values, _expand(type(config), options))
    return values


def to_plain(config: Any) -> dict[str, Any]:
    """A config as plain dicts, lists, numbers and text, fit for YAML and JSON."""
    found: dict[str, Any] = plain(config)
    return found


def dump_config(config: Any, *, verb: str | None = None) -> str:
    """A fully resolved config as YAML; `load_config` of it gives the same config again."""
    import yaml

    head: dict[str, Any] = {"format_version": FORMAT_VERSION}
    if verb is not None:
        head["verb"] = verb
    text: str = yaml.safe_dump({**head, **to_plain(config)}, sort_keys=False, allow_unicode=True, width=100)
    return text


def help_text(config: type[Any], usage: str) -> str:
    """The options of a config, from its field docstrings."""
    text: str = _parser(config, usage, show_required=True).format_help()
    # Lists of dataclasses get an option `--scenes.help` each, which nothing here would answer.
    text = re.sub(r"^  --[\w.]+\.help\s.*\n( {20}.*\n)*", "", text, flags=re.MULTILINE)
    return _CLASS.sub(r"\1", text)


def _check_reserved(file: YamlFile, verb: str | None) -> None:
    version = file.values.get("format_version", FORMAT_VERSION)
    if not isinstance(version, int) or version < 1:
        raise ConfigError(f"format_version must be 1, not {version!r}", where=file.where("format_version"))
    if version > FORMAT_VERSION:
        raise ConfigError(
            f"has format_version {version}; this version of swath reads up to {FORMAT_VERSION}",
            where=file.where("format_version"),
            mend="update swath",
        )
    wanted = file.values.get("verb", verb)
    if verb is not None and wanted != verb:
        raise ConfigError(
            f"is for 'swath {wanted}', not 'swath {verb}'",
            where=file.where("verb"),
            mend=f"run 'swath {wanted} {file.path}' or give a file for {verb}",
        )


def _check_keys(
    config: type[Any], values: Mapping[str, Any], where: Callable[[str], str | None], prefix: str = ""
) -> None:
    """Raises ConfigError for a name that is unknown; `where` says which place a key comes from."""
    known = schema.keys(config)
    for name, value in values.items():
        dotted = prefix + name
        if name not in known:
            near = schema.nearest(config, name)
            listed = f"the keys are: {', '.join(known)}"
            mend = listed if near is None else f"did you mean '{prefix}{near}'?"
            raise ConfigError(f"unknown key '{dotted}'", where=where(dotted), mend=mend)
        key = known[name]
        if key.nested is not None and isinstance(value, Mapping):
            _check_keys(key.nested, value, where, dotted + ".")
        elif key.item is not None and isinstance(value, list):
            for i, entry in enumerate(value):
                if isinstance(entry, Mapping):
                    _check_keys(key.item, entry, where, f"{dotted}.{i}.")


def _place_option(
    config: type[Any], name: str, value: object, flag: str, top: str = ""
) -> Iterator[tuple[str, object]]:
    """The single options that one stands for: (`training.steps`, 5) for `training`, {"steps": 5}.

    Raises ConfigError for a name that is unknown, also for one inside a mapping.
    """
    key, left = schema.find(config, name)
    if key is None or (left and not key.free_form):
        near = schema.nearest(config, name)
        known = "see --help for the options" if flag else f"the options are: {', '.join(schema.keys(config))}"
        mend = known if near is None else f"did you mean '{flag}{top}{near}'?"
        raise ConfigError("unknown option", where=flag + top + name, mend=mend)
    # jsonargparse converts what has a type; below a free-form key, and for whole groups, we do.
    if isinstance(value, str) and (left or (_takes_yaml(key) and value.lstrip().startswith(("{", "[")))):
        value = parse_value(value, flag + top + name)
    if isinstance(value, str) and not left and key.texts and not value.lstrip().startswith("["):
        value = [value]
    if isinstance(value, str) and key.nested is not None and key.optional and value in ("null", "None"):
        value = None
    value = plain(value)
    if isinstance(value, dict) and key.group is not None and not left:
        for below, single in value.items():
            for dotted, leaf in _place_option(key.group, below, single, flag, f"{top}{name}."):
                yield f"{name}.{dotted}", leaf
        return
    if key.item is not None and isinstance(value, list):
        for i, entry in enumerate(value):
            for below in entry if isinstance(entry, dict) else ():
                # Only to find unknown names: the list stays one value.
                list(_place_option(key.item, below, entry[below], flag, f"{top}{name}.{i}."))
    yield name, value


def _takes_yaml(key: schema.Key) -> bool:
    return key.nested is not None or key.item is not None


def _expand(config: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Write out shorthands: `input: scene.tif` is `input: {files: scene.tif}`; see `swath.verbs.schema`."""
    expanded: dict[str, Any] = {}
    known = schema.keys(config)
    for name, value in values.items():
        key = known.get(name)
        if key is None:
            expanded[name] = value
            continue
        if key.shorthand is not None and isinstance(value, (str, list, Path)):
            value = {key.shorthand: value}
        elif key.of_text is not None and isinstance(value, (str, Path)):
            value = key.of_text(str(value))
        elif key.item_shorthand is not None:
            # One thing alone stands for a list of it.
            items = [value] if isinstance(value, (str, Path)) else value
            if isinstance(items, list):
                value = [{key.item_shorthand: v} if isinstance(v, (str, list, Path)) else v for v in items]
        if key.nested is not None and isinstance(value, Mapping):
            value = _expand(key.nested, value)
        elif key.item is not None and isinstance(value, (list, tuple)):
            value = [_expand(key.item, entry) if isinstance(entry, Mapping) else entry for entry in value]
        expanded[name] = value
    return expanded


def _merge(config: type[Any] | None, into: dict[str, Any], new: Mapping[str, Any]) -> None:
    """Lay `new` over `into`; only groups (dataclasses and free-form options below them) merge key by key."""
    known = {} if config is None else schema.keys(config)
    for name, value in new.items():
        old = into.get(name)
        if isinstance(old, dict) and isinstance(value, Mapping):
            _merge(known[name].nested if name in known else None, old, value)
        else:
            into[name] = dict(value) if isinstance(value, Mapping) else value


def _check_required(
    config: type[Any], values: Mapping[str, Any], prefix: str, flag: str, origins: Mapping[str, str]
) -> None:
    missing = [prefix + name for name in _lacking(config, values)]
    if missing:
        options = ", ".join(flag + name for name in missing)
        what = "a required option is missing" if len(missing) == 1 else "required options are missing"
        raise ConfigError(what, where=options, mend="give it here or in a YAML file")
    for key in schema.keys(config).values():
        below = values.get(key.name)
        # A group that has a default as a whole fills in what is not given.
        if key.nested is not None and isinstance(below, Mapping) and key.default is None:
            _check_required(key.nested, below, f"{prefix}{key.name}.", flag, origins)
        elif key.item is not None and isinstance(below, list):
            for i, entry in enumerate(below):
                lacking = [] if not isinstance(entry, Mapping) else _lacking(key.item, entry)
                if lacking:
                    place = f"{prefix}{key.name}"
                    raise ConfigError(
                        f"number {i + 1} of '{place}' has no {', '.join(lacking)}",
                        where=_origin(origins, f"{place}.{i}.{next(iter(entry), '')}") or flag + place,
                        mend=f"give each {', '.join(_lacking(key.item, {}))}",
                    )


def _lacking(config: type[Any], values: Mapping[str, Any]) -> list[str]:
    """Names of what must be given and is not; of a group, those within it that must be."""
    names = []
    for key in schema.keys(config).values():
        if key.required and key.name not in values:
            within = [] if key.group is None or key.shorthand else _lacking(key.group, {})
            names += [f"{key.name}.{name}" for name in within] or [key.name]
    return names


def _check_groups(
    config: type[Any], values: Mapping[str, Any], origins: Mapping[str, str], prefix: str
) -> None:
    """jsonargparse breaks on a group that is no mapping; say it plainly instead."""
    for key in schema.keys(config).values():
        if key.nested is None or key.name not in values:
            continue
        value = values[key.name]
        dotted = prefix + key.name
        if isinstance(value, Mapping):
            _check_groups(key.nested, value, origins, dotted + ".")
        elif not (value is None and key.optional):
            raise _type_error(key, dotted, value, origins)


def _instantiate(config: type[T], values: dict[str, Any], origins: Mapping[str, str], prefix: str = "") -> T:
    import argparse

    _check_keys(config, values, lambda dotted: _origin(origins, dotted), prefix)
    _check_groups(config, values, origins, prefix)
    try:
        parser = _parser(config)
        typed = parser.parse_object(_typed_part(config, plain(values)), defaults=False)
        _check_numbers(config, vars(typed), origins, prefix)
        return _build(config, values, parser.instantiate(typed), None, origins, prefix)
    except SwathError:
        raise
    except (argparse.ArgumentError, TypeError, ValueError) as e:
        cause: BaseException | None = e
        while cause is not None:  # a config's own check may be wrapped
            if isinstance(cause, SwathError):
                raise cause from None
            cause = cause.__cause__ or cause.__context__
        raise _explain(config, values, origins, e, prefix) from None


def _typed_part(config: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """What jsonargparse converts.

    It would read text again as YAML, below free-form keys NO as false, and # as null where null is allowed.
    """
    typed: dict[str, Any] = {}
    for name, value in values.items():
        key = schema.keys(config)[name]
        if key.group is not None:
            typed[name] = _typed_part(key.group, value)
        elif _apart(key, value):
            continue
        elif not _as_given(key, value):
            typed[name] = value
    return typed


def _apart(key: schema.Key, value: object) -> bool:
    """Whether a dataclass that may be null is given: it is made by itself.

    jsonargparse would fill it in with the defaults of the classes in it, not with its own for them.
    """
    return key.nested is not None and key.group is None and isinstance(value, Mapping)


def _as_given(key: schema.Key, value: object) -> bool:
    """Whether a value needs no conversion."""
    if isinstance(value, dict):
        return key.free_form
    return key.text and isinstance(value, str) and value.lower() not in ("null", "none")


def _build(
    config: type[T],
    values: Mapping[str, Any],
    typed: Any,
    default: T | None,
    origins: Mapping[str, str],
    prefix: str,
) -> T:
    """Make the dataclasses from converted values; what is not given keeps its default."""
    changes: dict[str, Any] = {}
    for name, value in values.items():
        key = schema.keys(config)[name]
        if key.group is not None:
            below = getattr(default, key.attribute, key.default)
            changes[key.attribute] = _build(
                key.group, value, typed.get(name), below, origins, f"{prefix}{name}."
            )
        elif key.nested is not None and _apart(key, value):
            _check_required(key.nested, value, f"{prefix}{name}.", "", origins)
            changes[key.attribute] = _instantiate(key.nested, value, origins, f"{prefix}{name}.")
        elif _as_given(key, value):
            changes[key.attribute] = value
        else:
            changes[key.attribute] = typed[name]
    try:
        if default is None:
            return config(**changes)
        made: T = dataclasses.replace(cast(Any, default), **changes)
        return made
    except ConfigError as err:
        raise ConfigError(err.what, where=_full_name(config, err.where, prefix), mend=err.mend) from None


def _full_name(config: type[Any], where: str | None, prefix: str) -> str | None:
    """The option that a class's own check names, as it is called here: the class may stand in other groups, too."""
    if where is None or not prefix or not _OPTION.fullmatch(where):
        return where
    parts = where.split(".")
    known = schema.keys(config)
    own = next((i for i, part in enumerate(parts) if part in known), None)
    return prefix.rstrip(".") if own is None else prefix + ".".join(parts[own:])


def _check_numbers(
    config: type[Any], values: Mapping[str, Any], origins: Mapping[str, str], prefix: str
) -> None:
    """Raises ConfigError for a number that is none, or has no end, and for null where it is no value."""
    for name, key in schema.keys(config).items():
        value, below = values.get(name), key.nested or key.item
        if below is not None:
            for entry in value if isinstance(value, list | tuple) else (value,):
                if isinstance(entry, Mapping) or hasattr(entry, "__dict__"):
                    inner = entry if isinstance(entry, Mapping) else vars(entry)
                    _check_numbers(below, inner, origins, f"{prefix}{name}.")
        elif value is None and name in values and not key.optional and not key.free_form:
            raise _type_error(key, prefix + name, None, origins)
        elif key.finite:
            for number in _numbers(value):
                if not (math.isfinite(number) and abs(number) < _MOST):
                    raise ConfigError(
                        f"'{prefix}{name}' must be a finite number, not {number:g}",
                        where=_origin(origins, prefix + name),
                    )


def _numbers(value: object) -> Iterator[float]:
    """A number, or those of a list."""
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item)


def _explain(
    config: type[Any], values: Mapping[str, Any], origins: Mapping[str, str], error: Exception, prefix: str
) -> ConfigError:
    """Say in one line what jsonargparse says in five."""
    text = " ".join(_CLASS.sub(r"\1", str(error)).split())
    path = ".".join(_JSONARGPARSE_KEY.findall(text))
    if not path:
        return ConfigError(text)
    key, left = schema.find(config, path)
    if key is None or (left and not key.free_form):
        return ConfigError(f"'{prefix}{path}' does not fit: {text}", where=_origin(origins, prefix + path))
    value: Any = values
    for part in path.split("."):
        value = value.get(part, _UNKNOWN) if isinstance(value, Mapping) else _UNKNOWN
    if value is _UNKNOWN:  # inside a list, where jsonargparse does not say which item
        said = _VALUE.findall(text)
        value = _Text(said[0]) if said else _Text("what was given")
    return _type_error(key, prefix + path, value, origins)


def _type_error(key: schema.Key, dotted: str, value: object, origins: Mapping[str, str]) -> ConfigError:
    return ConfigError(
        f"'{dotted}' must be {schema.words(key.type)}, not {value!r}", where=_origin(origins, dotted)
    )


def _origin(origins: Mapping[str, str], dotted: str) -> str | None:
    while dotted:
        if dotted in origins:
            return origins[dotted]
        dotted = dotted.rpartition(".")[0]
    return None


def _parser(
    config: type[Any], usage: str = "", *, show_required: bool = False
) -> jsonargparse.ArgumentParser:
    import jsonargparse

    parser = jsonargparse.ArgumentParser(
        prog="swath", usage=usage or None, exit_on_error=False, add_help=False
    )
    _add_options(parser, config, "", None, show_required)
    return parser


_documents: dict[type[Any], tuple[str, dict[str, str]]] = {}


def _documented(config: type[Any]) -> tuple[str, dict[str, str]]:
    """The heading of a config class and the text of each field, by its docstring and source, which take long to read."""
    import docstring_parser

    if config in _documents:
        return _documents[config]
    document = docstring_parser.parse_from_object(config)
    # A dataclass that extends another has the other's texts too.
    parents = [
        docstring_parser.parse_from_object(c) for c in config.__mro__[:0:-1] if dataclasses.is_dataclass(c)
    ]
    texts = {
        p.arg_name: " ".join((p.description or "").split()) for d in (*parents, document) for p in d.params
    }
    heading = (document.short_description or config.__name__).rstrip(".")
    _documents[config] = heading, texts
    return heading, texts


def _add_options(
    parser: jsonargparse.ArgumentParser, config: type[Any], prefix: str, default: object, show_required: bool
) -> None:
    """One option per field; one heading per dataclass.

    jsonargparse could add a class by itself, but runs the `if TYPE_CHECKING` blocks of its module to do so,
    which would load torch for a help text.
    """
    heading, texts = _documented(config)
    group = parser.add_argument_group(heading, _shorter(config, prefix.rstrip(".")) or None)
    groups = []
    for key in schema.keys(config).values():
        value = getattr(default, key.attribute, key.default)
        if key.group is not None:
            groups.append((key.group, f"{prefix}{key.name}.", value))
        else:
            # What is missing is said before parsing, all of it in one line.
            asked = key.required and default is None and show_required
            required = {"required": True} if asked else {"default": value}
            text = texts.get(key.attribute, "")
            if key.item_shorthand is not None:
                text += f" Plain names are short for {{{key.item_shorthand}: NAME}}: [a, b]."
            group.add_argument(f"--{prefix}{key.name}", type=key.type, help=text, **required)
    for below, name, value in groups:
        _add_options(parser, below, name, value, show_required)


def _shorter(config: type[Any], spelled: str) -> str:
    """What is short for what in a group that is spelled so."""
    said = [f"--{name} VALUE is short for --{of} VALUE" for name, of in schema.short(config).items()]
    shorthand, of_text = getattr(config, "SHORTHAND", None), getattr(config, "of_text", None)
    if shorthand and spelled:
        said.append(f"--{spelled} VALUE is short for --{spelled}.{shorthand} VALUE")
    if of_text is not None and spelled:
        said.append(f"--{spelled} {(of_text.__doc__ or '').splitlines()[0].rstrip('.')}")
    return "; ".join(said)


def plain(value: Any) -> Any:
    """The same of any value in a config."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [f for f in dataclasses.fields(value) if f.init]
        return {schema.option_name(f): plain(getattr(value, f.name)) for f in fields}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v) for v in value]
    if isinstance(value, Path):
        return str(value)
    return value
