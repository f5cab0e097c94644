"""Pieces of a self-contained page: escaped text, sortable tables, figures as data."""

import base64
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

PAGE = Path(__file__).with_name("page.html")


@dataclass(frozen=True)
class Cell:
    """A table's cell: what it shows, what it is sorted by (itself unless given), a class and a hint."""

    text: str
    value: str | None = None
    kind: str = ""
    hint: str = ""
    link: str = ""


def cell(of: Cell) -> str:
    """A cell as HTML."""
    shown = escape(of.text)
    if of.link:
        shown = f'<a href="{escape(of.link)}">{shown}</a>'
    kind = f' class="{of.kind}"' if of.kind else ""
    value = "" if of.value is None else f' data-v="{escape(of.value)}"'
    hint = f' title="{escape(of.hint)}"' if of.hint else ""
    return f"<td{kind}{value}{hint}>{shown}</td>"


@dataclass(frozen=True)
class Head:
    """A table's column: its title, whether it holds text, and whether a first click puts the greatest first."""

    text: str
    is_text: bool = False
    descending: bool = False
    hint: str = ""


def table(heads: Sequence[Head], rows: Iterable[Sequence[Cell]], references: Iterable[Sequence[Cell]] = ()) -> str:
    """A table that a click on a column sorts; the `references` stay below."""
    titles = []
    for head in heads:
        kind = ' class="text"' if head.is_text else ""
        first = ' data-first="descending"' if head.descending else ""
        hint = f' title="{escape(head.hint)}"' if head.hint else ""
        titles.append(f'<th{kind}{first}{hint}><button type="button">{escape(head.text)}</button></th>')
    body = "\n".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in rows)
    below = "\n".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in references)
    below = f'<tbody class="references">{below}</tbody>' if below else ""
    return (
        f'<div class="scroll"><table><thead><tr>{"".join(titles)}</tr></thead>'
        f'<tbody class="rows">{body}</tbody>{below}</table></div>'
    )


def picture(figure: Figure, alt: str, *, pixels: bool = False) -> str:
    """A figure as an <img> that holds it: SVG, or PNG at twice the size where it is made of `pixels`."""
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "disvae"}):
        if pixels:
            figure.savefig(file, format="png", dpi=160)
        else:
            figure.savefig(file, format="svg")
    kind = "png" if pixels else "svg+xml"
    content = file.getvalue() if pixels else _shortened(file.getvalue().decode()).encode()
    data = base64.b64encode(content).decode()
    width = round(80 * figure.get_figwidth())
    return f'<img width="{width}" src="data:image/{kind};base64,{data}" alt="{escape(alt)}">'


def _shortened(svg: str) -> str:
    """The same drawing in less than half the bytes: each style written once, hundredths of a point, no metadata."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    styles: dict[str, str] = {}
    svg = re.sub(r'style="([^"]*)"', lambda found: f'class="{styles.setdefault(found[1], f"s{len(styles)}")}"', svg)
    svg = re.sub(r"(?<![(\d.])(\d+\.\d\d)\d+", r"\1", svg)  # numbers of a scale(...) stay whole
    rules = "".join(f".{name}{{{style}}}" for style, name in styles.items())
    svg = svg.replace("</style>", f"{rules}</style>", 1)
    return re.sub(r"\s*\n\s*", " ", svg)


def section(title: str, parts: Iterable[str], caption: str = "") -> str:
    """A headed part of the page; nothing where there is nothing to show."""
    body = "\n".join(filter(None, parts))
    if not body:
        return ""
    said = f'<p class="caption">{escape(caption)}</p>' if caption else ""
    return f'<section id="{anchor(title)}">\n<h2>{escape(title)}</h2>\n{said}\n{body}\n</section>'


def anchor(title: str) -> str:
    """A section's address within the page."""
    return "".join(letter if letter.isalnum() else "-" for letter in title.lower())


def page(title: str, body: str) -> str:
    """The whole page."""
    return PAGE.read_text(encoding="utf-8").replace("@TITLE@", escape(title), 1).replace("@BODY@", body, 1)
