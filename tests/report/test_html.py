from __future__ import annotations

import re
import stat
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from swath.data.legend import LandClass
from swath.errors import OutputError
from swath.report import figures
from swath.report.html import Page
from swath.report.table import Metric, Row, Table

PNG = figures.composite(np.zeros((3, 4, 5)))


def page() -> Page:
    made = Page("Map of <Wake>", "A lead with `code`.").facts({"km²": 176, "a & b": "x"})
    made.section("The scene", "Some **strong** text & `a < b`.").figure(PNG, "In `true` **colour**.")
    made.figures((PNG, "one"), (PNG, "two", "an alternative"))
    made.section("The scene").legend((LandClass(1, "water", (1, 2, 3)),))
    table = Table("Scores", (Metric("oa", "accuracy"),), (Row("<ours>", {"oa": 0.5}),), ("A note.",))
    return made.section("Results").table(table).code("swath demo\nswath predict --input 'a b.tif' > log")


class Checker(HTMLParser):
    """Whether tags nest, and what is linked."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.add(tag)
        if values.get("id"):
            self.ids.append(str(values["id"]))
        if tag == "a":
            self.links.append(str(values["href"]))
        if tag == "img":
            self.images.append(values)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_pages_are_well_formed_self_contained_and_linked() -> None:
    html = page().html()
    checker = Checker()
    checker.feed(html)
    assert checker.open == []
    assert len(set(checker.ids)) == len(checker.ids) == 3
    assert checker.links == [f"#{i}" for i in checker.ids]
    assert not checker.tags & {"script", "link", "iframe"}
    assert all(str(i["src"]).startswith("data:image/png;base64,") for i in checker.images)
    assert [i["alt"] for i in checker.images] == ["In true colour.", "one", "an alternative"]
    assert not re.search(r"https?://", html)
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in html


def test_text_is_escaped_and_lightly_marked() -> None:
    html = page().html()
    assert "<title>Map of &lt;Wake&gt;</title>" in html
    assert "<p>Some <strong>strong</strong> text &amp; <code>a &lt; b</code>.</p>" in html
    assert "<dt>a &amp; b</dt><dd>x</dd>" in html
    assert (
        "<pre><code><span>swath demo</span><span>swath predict --input &#x27;a b.tif&#x27; &gt; log</span>"
        in html
    )
    assert "&lt;ours&gt;" in html
    assert "background:#010203" in html


def test_two_pages_with_the_same_content_are_the_same_bytes() -> None:
    assert page().html() == page().html()


def test_an_empty_page_is_a_page() -> None:
    checker = Checker()
    checker.feed(Page("Nothing").html())
    assert checker.open == []
    assert "nav" not in checker.tags


def test_writing_is_whole_or_not_at_all(tmp_path: Path) -> None:
    target = page().write(tmp_path / "report.html")
    assert target.read_text(encoding="utf-8") == page().html()
    assert stat.S_IMODE(target.stat().st_mode) & 0o400
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    page().write(target)
    with pytest.raises(OutputError, match="exists already"):
        page().write(target, overwrite=False)
    with pytest.raises(OutputError, match="cannot be written"):
        page().write(target / "report.html")


def test_only_png_is_taken() -> None:
    with pytest.raises(ValueError, match="PNG"):
        Page("x").figure(b"GIF89a", "x")
