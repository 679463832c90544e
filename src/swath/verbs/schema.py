"""What a config dataclass accepts: keys, dotted where dataclasses nest, their types in words, near misses.

A dataclass may name one of its fields as its shorthand (`SHORTHAND: ClassVar[str] = "files"`): where the class is
expected, text or a list stands for that field, so that `input: scene.tif` means `input: {files: scene.tif}`. Where what
text stands for must be looked up, a class has a class method `of_text(text) -> dict` instead, whose first line says what
it takes.

A class may name options that are short for one of a group (`SHORT: ClassVar[Mapping[str, str]]`): the card's `labels` is
its `data.labels`.

An option whose name is a word of Python itself, such as `from`, has a field of another name, which says so:
`kind: str = field(default="", metadata={"option": "from"})`. Numbers must be finite but where a field says
`metadata={"finite": False}`.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

_WORDS: dict[object, tuple[str, str]] = {
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "true or false"),
    str: ("text", "texts"),
    Path: ("a path", "paths"),
    type(None): ("null", "nulls"),
}


@dataclass(frozen=True)
class Key:
    """One field of a config class.

    Attributes:
        name: of the option.
        type: of its value.
        required: whether it has no default.
        default: its value if not given.
        field: the name of the field, the option's own if empty.
        finite: whether a number must be; not where it stands for a value of pixels.
        reads: what makes its value of text, of a field that may be spelled so.
    """

    name: str
    type: Any
    required: bool
    default: Any = None
    field: str = ""
    finite: bool = True
    reads: Callable[[str], Any] | None = None

    @property
    def attribute(self) -> str:
        """The name of the field."""
        return self.field or self.name

    @property
    def several(self) -> bool:
        """Whether it takes a list, so that an option given twice adds to it."""
        kinds = [(get_origin(k), get_args(k)) for k in _alternatives(self.type)]
        return any(o is list or (o is tuple and a[-1:] == (Ellipsis,)) for o, a in kinds)

    @property
    def text(self) -> bool:
        """Whether it takes text, and at most null beside it."""
        return str in _alternatives(self.type) and set(_alternatives(self.type)) <= {str, type(None)}

    @property
    def texts(self) -> bool:
        """Whether it takes a list of texts and nothing else, so that one text alone means a list of it."""
        kinds = [(get_origin(k), get_args(k)) for k in _alternatives(self.type)]
        return all(o in (list, tuple) and a in ((str,), (str, Ellipsis)) for o, a in kinds)

    @property
    def nested(self) -> type[Any] | None:
        """The dataclass a mapping under this key must fit: of `D` or `D | None`."""
        return _single_dataclass(self.type)

    @property
    def group(self) -> type[Any] | None:
        """The dataclass whose fields are options of their own, as `training.steps`; none of `D | None`."""
        return None if self.optional else self.nested

    @property
    def switch(self) -> bool:
        """Whether it is true or false, and at most null beside them, so that its name alone means true."""
        return bool in _alternatives(self.type) and set(_alternatives(self.type)) <= {bool, type(None)}

    @property
    def free_form(self) -> bool:
        """Whether any key may stand below it: a plain dict or anything at all."""
        return any(a in (dict, Any) or get_origin(a) is dict for a in _alternatives(self.type))

    @property
    def optional(self) -> bool:
        """Whether null is a value."""
        return type(None) in _alternatives(self.type)

    @property
    def shorthand(self) -> str | None:
        """The field that plain text or a list under this key stands for."""
        return None if self.nested is None else getattr(self.nested, "SHORTHAND", None)

    @property
    def of_text(self) -> Callable[[str], Any] | None:
        """What makes a value, or keys, of plain text under this key; None: nothing does."""
        found: Callable[[str], Any] | None = self.reads or getattr(self.nested, "of_text", None)
        return found

    @property
    def item_shorthand(self) -> str | None:
        """The same for the items of a list."""
        return None if self.item is None else getattr(self.item, "SHORTHAND", None)

    @property
    def item(self) -> type[Any] | None:
        """The dataclass of the items, for a list or tuple of dataclasses."""
        for kind in _alternatives(self.type):
            if get_origin(kind) in (list, tuple):
                return _single_dataclass(get_args(kind)[0])
        return None


# Annotations are text until they are evaluated, which takes a compiler; one run asks some thousand times.
_hints: dict[type[Any], dict[str, Any]] = {}


def keys(config: type[Any]) -> dict[str, Key]:
    """The fields of a config class that may be given; those that it shares with other verbs (keyword-only) are last."""
    if config not in _hints:
        _hints[config] = typing.get_type_hints(config)
    hints = _hints[config]
    found = {}
    for f in sorted(dataclasses.fields(config), key=lambda f: f.kw_only is True):
        if f.default_factory is not dataclasses.MISSING:
            default, required = f.default_factory(), False
        else:
            required = f.default is dataclasses.MISSING
            default = None if required else f.default
        if f.init:
            name = option_name(f)
            said = f.metadata
            finite, reads = said.get("finite", True), said.get("of_text")
            found[name] = Key(name, hints[f.name], required, default, f.name, finite, reads)
    return found


def option_name(f: dataclasses.Field[Any]) -> str:
    """The name of a field's option."""
    return str(f.metadata.get("option", f.name))


def short(config: type[Any]) -> Mapping[str, str]:
    """Options that are short for one of a group, and which."""
    found: Mapping[str, str] = getattr(config, "SHORT", {})
    return found


def dotted_keys(config: type[Any], prefix: str = "") -> Iterator[str]:
    """Every key, with those of nested dataclasses: such as `training` and `training.steps`."""
    for key in keys(config).values():
        yield prefix + key.name
        if key.nested is not None:
            yield from dotted_keys(key.nested, f"{prefix}{key.name}.")


def find(config: type[Any], dotted: str) -> tuple[Key | None, str]:
    """The deepest key that a dotted name reaches, and what is left of the name below it.

    What is left is free-form if the key's type is a plain dict; otherwise the name is unknown.
    """
    dotted = short(config).get(dotted, dotted)
    name, _, rest = dotted.partition(".")
    key = keys(config).get(name)
    if key is None:
        return None, dotted
    group = key.nested or key.item
    if rest and group is not None:
        below, left = find(group, rest)
        return (key, rest) if below is None else (below, left)
    return key, rest


def nearest(config: type[Any], dotted: str) -> str | None:
    """The known key that was probably meant: the same word elsewhere, else the most similar spelling."""
    known = list(dotted_keys(config))
    leaf = dotted.rpartition(".")[2]
    for name in known:
        if name.rpartition(".")[2] == leaf:
            return name
    close = difflib.get_close_matches(dotted, known, n=1, cutoff=0.7)
    if close:
        return close[0]
    leaves = {name.rpartition(".")[2]: name for name in reversed(known)}
    close = difflib.get_close_matches(leaf, list(leaves), n=1, cutoff=0.6)
    return leaves[close[0]] if close else None


def words(kind: Any, *, plural: bool = False) -> str:
    """A type in a reader's words: `tuple[float, float]` is "a list of 2 numbers"."""
    if kind in _WORDS:
        return _WORDS[kind][plural]
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        return "one of " + ", ".join(str(a) for a in args)
    if origin in (Union, types.UnionType):
        return " or ".join(words(a, plural=plural) for a in args)
    if origin is tuple and args and args[-1] is not Ellipsis:
        same = len(set(args)) == 1
        return f"a list of {len(args)} {words(args[0], plural=True) if same else 'values'}"
    if origin in (list, tuple) and args:
        return f"a list of {words(args[0], plural=True)}"
    if dataclasses.is_dataclass(kind) or origin in (dict, Mapping) or kind is dict:
        return "mappings" if plural else "a mapping of keys to values"
    return getattr(kind, "__name__", str(kind))


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _single_dataclass(kind: Any) -> type[Any] | None:
    found = [a for a in _alternatives(kind) if isinstance(a, type) and dataclasses.is_dataclass(a)]
    return found[0] if len(found) == 1 else None
