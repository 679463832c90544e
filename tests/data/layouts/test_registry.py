"""Layouts by name: what is unknown is named, with what is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from swath.data.layouts.registry import LAYOUTS, layout_class, layout_options, open_layout
from swath.errors import ConfigError, SwathError


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("eurosat", {"bands": 3}, "options: eurosat has no option 'bands'; eurosat has no options"),
        (
            "bigearthnet",
            {"clases": 19},
            "options: bigearthnet has no option 'clases'; did you mean 'classes'? "
            "its options are classes (19), s1 (False), resampling ('nearest')",
        ),
        ("bigearthnet", {"s1": "no"}, "options: s1 must be true or false, not 'no'"),
        ("bigearthnet", {"classes": True}, "options: classes must be a whole number, not True"),
        ("otbtf", {"variant": 10}, "options: variant must be text, not 10"),
        (
            "major-tom",
            {"resampling": "bilnear"},
            "options: resampling is 'bilnear'; use one of nearest, bilinear",
        ),
        ("otbtf", {"x": 1}, "options: otbtf has no option 'x'; its options are variant ('10m')"),
    ],
)
def test_an_unknown_option_is_named_with_those_that_are_known(
    name: str, options: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        open_layout(name, tmp_path, **options)
    assert str(caught.value) == words


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("value", [{"a": 1}, [[1]], -7, "no such thing", None, True, 1.5])
def test_an_option_of_any_kind_is_an_error_of_ours_and_no_bug(
    name: str, value: object, tmp_path: Path
) -> None:
    for key in layout_options(layout_class(name)):
        options: dict[str, Any] = {key: value}
        with pytest.raises(SwathError) as caught:
            open_layout(name, tmp_path, **options)
        assert "\n" not in str(caught.value) and "__init__" not in str(caught.value)
