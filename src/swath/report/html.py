"""A page in one file: text, figures, tables and commands; for phones and desks, light and dark, no scripts.

page = Page("Land cover of Wake County", "ST-SwinUNet, 2000")
page.section("The scene").text("Six bands of **Landsat 7**.").figure(png, "In true colour.")
page.section("Results").table(table).code("swath demo")
page.write("report.html")
"""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Self

from swath.data.legend import LandClass
from swath.errors import OutputError
from swath.files import atomic
from swath.report.table import Table

_PNG = b"\x89PNG\r\n\x1a\n"
# PNG pixels per CSS pixel at a figure's natural size: 530 wide on a desk, sharp on a phone.
_DENSITY = 1.5


class Page:
    """A self-contained page, built from top to bottom; every method but `html` and `write` returns the page.

    Text may hold `code` in backticks and **strong** words; everything else is shown as it is.

    Args:
        title: of the page.
        lead: a sentence under the title.
        language: of the text, for readers that speak it aloud.
    """

    def __init__(self, title: str, lead: str = "", *, language: str = "en") -> None:
        self.title = title
        self.lead = lead
        self.language = language
        self._sections: list[tuple[str, str]] = []  # (anchor, title)
        self._body: list[str] = []
        self._open = False

    def section(self, title: str, text: str = "") -> Self:
        """Begin a section, listed in the contents at the top."""
        stem = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section"
        anchor = stem if stem not in [a for a, _ in self._sections] else f"{stem}-{len(self._sections)}"
        self._sections.append((anchor, title))
        closing = "</section>\n" if self._open else ""
        self._open = True
        self._body.append(f'{closing}<section id="{anchor}"><h2>{escape(title)}</h2>')
        return self.text(text) if text else self

    def text(self, *paragraphs: str) -> Self:
        """Paragraphs."""
        self._body.extend(f"<p>{_inline(p)}</p>" for p in paragraphs)
        return self

    def facts(self, facts: Mapping[str, object]) -> Self:
        """A few numbers to remember, large."""
        items = (f"<div><dt>{escape(k)}</dt><dd>{escape(str(v))}</dd></div>" for k, v in facts.items())
        self._body.append(f'<dl class="facts">{"".join(items)}</dl>')
        return self

    def figure(self, png: bytes, caption: str, *, alt: str | None = None) -> Self:
        """A figure with its caption; `alt` is for those who cannot see it (if not given, the caption)."""
        self._body.append(_figure(png, caption, alt))
        return self

    def figures(self, *items: tuple[bytes, str] | tuple[bytes, str, str]) -> Self:
        """Figures side by side where there is room: (png, caption) or (png, caption, alt)."""
        parts = (_figure(item[0], item[1], item[2] if len(item) == 3 else None) for item in items)
        self._body.append(f'<div class="row">{"".join(parts)}</div>')
        return self

    def legend(self, classes: Sequence[LandClass]) -> Self:
        """Classes with their colours."""
        items = (f'<li><i style="background:{c.hex}"></i>{escape(c.name)}</li>' for c in classes)
        self._body.append(f'<ul class="legend">{"".join(items)}</ul>')
        return self

    def table(self, table: Table) -> Self:
        """A table and its notes; it scrolls sideways by itself where it is too wide."""
        # The title stands outside what scrolls, where it can wrap; a caption would be as wide as the table.
        title = f'<p class="title">{escape(table.title)}</p>' if table.title else ""
        # Reachable by keyboard, or else it could not be scrolled without a pointer.
        self._body.append(
            f'{title}<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.title)}">'
            f"{table.to_html()}</div>"
        )
        return self.notes(*table.notes) if table.notes else self

    def notes(self, *notes: str) -> Self:
        """Remarks in small print."""
        self._body.append('<ul class="notes">' + "".join(f"<li>{_inline(n)}</li>" for n in notes) + "</ul>")
        return self

    def code(self, commands: str | Sequence[str]) -> Self:
        """Commands as they are typed, one a line."""
        lines = commands.splitlines() if isinstance(commands, str) else commands
        # A line of its own each, so that one that wraps is indented and still copied as one.
        self._body.append(
            "<pre><code>" + "".join(f"<span>{escape(line)}</span>" for line in lines) + "</code></pre>"
        )
        return self

    def html(self) -> str:
        """The whole page."""
        links = "".join(f'<li><a href="#{a}">{escape(t)}</a></li>' for a, t in self._sections)
        contents = f'<nav aria-label="Contents"><ul>{links}</ul></nav>' if len(self._sections) > 2 else ""
        lead = f'<p class="lead">{_inline(self.lead)}</p>' if self.lead else ""
        closing = "</section>" if self._open else ""
        body = "\n".join(self._body)
        style = resources.files("swath.report").joinpath("page.css").read_text(encoding="utf-8")
        return (
            f'<!DOCTYPE html>\n<html lang="{escape(self.language)}">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            # No request of any kind can leave the page.
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
            "style-src 'unsafe-inline'\">\n"
            f"<title>{escape(self.title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
            f"<header><h1>{escape(self.title)}</h1>{lead}{contents}</header>\n{body}\n{closing}\n</main>\n"
            "</body>\n</html>\n"
        )

    def write(self, path: str | Path, *, overwrite: bool = True) -> Path:
        """Write the page whole or not at all. Raises OutputError."""
        target = Path(path)
        if target.exists() and not overwrite:
            raise OutputError(
                "exists already", where=target, mend="choose another name, or set overwrite to true"
            )
        with atomic(target) as part:
            part.write_text(self.html(), encoding="utf-8")
        return target


def _figure(png: bytes, caption: str, alt: str | None) -> str:
    if png[:8] != _PNG:
        raise ValueError("not a PNG")
    width, height = struct.unpack(">II", png[16:24])
    plain = re.sub(r"[`*]", "", caption) if alt is None else alt
    data = base64.b64encode(png).decode()
    return (
        f'<figure><img src="data:image/png;base64,{data}" width="{round(width / _DENSITY)}" '
        f'height="{round(height / _DENSITY)}" alt="{escape(plain)}">'
        f"<figcaption>{_inline(caption)}</figcaption></figure>"
    )


def _inline(text: str) -> str:
    """Escaped text with `code` and **strong**."""
    parts = re.split(r"`([^`]+)`", text)
    for i, part in enumerate(parts):
        safe = escape(part)
        parts[i] = f"<code>{safe}</code>" if i % 2 else re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", safe)
    return "".join(parts)
