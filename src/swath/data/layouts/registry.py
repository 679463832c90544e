"""Layouts by name; a module is imported when its layout is asked for."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from swath.data.layouts.base import Layout, LayoutInfo
from swath.data.spec import Resampling
from swath.errors import ConfigError

LAYOUTS: dict[str, str] = {
    # name: "module:Class"; one line each, in the order of `swath inspect --layouts`
    "ssl4eo-s12": "ssl4eo:SSL4EO",
    "ssl4eo-s12-v1.1": "ssl4eo_v11:SSL4EOv11",
    "fmow-sentinel": "fmow:FMoWSentinel",
    "bigearthnet": "bigearthnet:BigEarthNet",
    "bigearthnet-v2": "bigearthnet_v2:BigEarthNetV2",
    "major-tom": "major_tom:MajorTOM",
    "earthnet": "earthnet:EarthNet",
    "greenearthnet": "greenearthnet:GreenEarthNet",
    "eurosat": "eurosat:EuroSAT",
    "sen1floods11": "sen1floods11:Sen1Floods11",
    "hls-water": "hls_water:HLSWater",
    "oscd": "oscd:OSCD",
    "phileo": "phileo:PhilEO",
    "hls-burn-scars": "hls_burn_scars:HLSBurnScars",
    "multi-temporal-crops": "multi_temporal_crops:MultiTemporalCrops",
    "worldcereal": "worldcereal_sites:WorldCereal",
    "landsat-change": "landsat_change:LandsatChange",
    "ukis-csmask": "ukis_csmask:UkisCsmask",
    "otbtf": "otbtf:OTBTF",
    "segmunich": "segmunich:SegMunich",
    "folder": "folder:Folder",
}


def layout_class(name: str) -> type[Any]:
    """The class of a layout. Raises ConfigError for an unknown name, with the nearest."""
    if name not in LAYOUTS:
        near = difflib.get_close_matches(name, LAYOUTS, n=1)
        mend = f"did you mean '{near[0]}'?" if near else f"the layouts are: {', '.join(LAYOUTS)}"
        raise ConfigError(f"unknown layout '{name}'", where="layout", mend=mend)
    module, _, cls = LAYOUTS[name].partition(":")
    found: type[Any] = getattr(importlib.import_module(f"swath.data.layouts.{module}"), cls)
    return found


def layout_info(name: str, options: Mapping[str, Any]) -> LayoutInfo:
    """What a layout's records are under its options, such as another target; opens nothing.

    Raises:
        ConfigError: an unknown layout.
    """
    cls = layout_class(name)
    describe = getattr(cls, "describe", None)
    info: LayoutInfo = cls.info if describe is None else describe(**options)
    return info


def open_layout(name: str, root: Path | str, split: str | None = None, **options: Any) -> Layout:
    """A layout on a folder.

    Raises:
        ConfigError: an unknown layout, split or option.
        InputError: the folder is not of that structure.
    """
    cls = layout_class(name)
    info: LayoutInfo = cls.info
    if split is not None and split not in info.splits:
        known = f"use one of {', '.join(info.splits)}" if info.splits else "it has no official splits"
        raise ConfigError(f"{name} has no split '{split}'", where="split", mend=known)
    _check_options(name, cls, options)
    try:
        layout: Layout = cls(root, split, **options)
    except (TypeError, AttributeError) as err:
        if not options:
            raise  # nothing that a person wrote: a bug
        said = ", ".join(f"{key} = {value!r}" for key, value in options.items())
        raise ConfigError(
            f"an option of {name} is of the wrong kind ({said})", where="options", mend=_known(name, cls)
        ) from err
    return layout


def layout_options(cls: type[Any]) -> dict[str, Any]:
    """The options of a layout by name, with their defaults."""
    parameters = inspect.signature(cls).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def _check_options(name: str, cls: type[Any], options: Mapping[str, Any]) -> None:
    known = layout_options(cls)
    for key in options:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            mend = f"did you mean '{near[0]}'? {_known(name, cls)}" if near else _known(name, cls)
            raise ConfigError(f"{name} has no option '{key}'", where="options", mend=mend)
        # Text such as "no" is true to Python, and an unknown word would be none of those that are compared with.
        for kind, words in ((bool, "true or false"), (int, "a whole number"), (str, "text")):
            if type(known[key]) is kind and type(options[key]) is not kind:
                raise ConfigError(f"{key} must be {words}, not {options[key]!r}", where="options")
        if key == "resampling" and options[key] not in get_args(Resampling):
            raise ConfigError(
                f"resampling is '{options[key]}'",
                where="options",
                mend=f"use one of {', '.join(get_args(Resampling))}",
            )


def _known(name: str, cls: type[Any]) -> str:
    known = layout_options(cls)
    if not known:
        return f"{name} has no options"
    return f"its options are {', '.join(f'{k} ({v!r})' for k, v in known.items())}"
