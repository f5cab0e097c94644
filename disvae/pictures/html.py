"""Pieces of a self-contained HTML page as data: pictures, beside tables. Templates lay them out."""

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """An image that the page holds as data: its address, a description in words, its width in CSS pixels, a caption."""

    source: str
    alt: str
    width: int | None = None
    caption: str = ""


@dataclass(frozen=True)
class Panels:
    """Pictures of one kind in a grid, with an optional title and an optional key to their colours."""

    pictures: Sequence[Picture]
    title: str = ""
    key: Picture | None = None


def picture(figure: "Figure", alt: str, *, pixels: bool = False) -> Picture:
    """Return a figure as SVG, or as PNG at twice the size if it shows images (`pixels`)."""
    import matplotlib  # not at the top: the explorer's page has no figures and need not wait for the import

    file = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "disvae"}):
        if pixels:
            figure.savefig(file, format="png", dpi=160)
        else:
            figure.savefig(file, format="svg")
    content = file.getvalue() if pixels else _shortened(file.getvalue().decode()).encode()
    return Picture(data_address(content, "png" if pixels else "svg+xml"), alt, round(80 * figure.get_figwidth()))


def data_address(image: bytes, kind: str) -> str:
    """Return a data address that contains the image itself; `kind` is png, gif or svg+xml."""
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


def _shortened(svg: str) -> str:
    """Return the drawing in less than half the bytes: each style once, two decimals, no metadata."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    styles: dict[str, str] = {}
    svg = re.sub(r'style="([^"]*)"', lambda found: f'class="{styles.setdefault(found[1], f"s{len(styles)}")}"', svg)
    svg = re.sub(r"(?<![(\d.])(\d+\.\d\d)\d+", r"\1", svg)  # numbers within scale(...) keep all digits
    rules = "".join(f".{name}{{{style}}}" for style, name in styles.items())
    svg = svg.replace("</style>", f"{rules}</style>", 1)
    return re.sub(r"\s*\n\s*", " ", svg)


def render(template: str, **content: Any) -> str:
    """Return the page that a template of this package makes from the content; every text is escaped."""
    return _environment().get_template(template).render(content)


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("disvae", ""),  # templates lie beside the code that uses them
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters |= {"anchor": _anchor, "sentence": sentence}
    found.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return found


def _anchor(title: str) -> str:
    """Return the address of a section within its page."""
    return "".join(letter if letter.isalnum() else "-" for letter in title.lower())


def sentence(text: str) -> str:
    """Return the text with a capital first letter and one full stop."""
    return f"{text[:1].upper()}{text[1:].removesuffix('.')}."
