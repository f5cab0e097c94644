"""Pieces of pages, and the templates that lay them out."""

import json
from pathlib import Path

import pytest
from jinja2 import Environment, UndefinedError, nodes

import disvae
from disvae.pictures.html import data_address, render

TEMPLATES = sorted(Path(disvae.__file__).parent.rglob("*.jinja"))


def test_a_value_that_is_missing_is_an_error_and_no_gap_in_the_page():
    with pytest.raises(UndefinedError, match="'content' is undefined"):
        render("explorer/page.html.jinja")


def test_json_in_the_page_ends_no_script_and_holds_what_it_was_given(hostile):
    page = render("explorer/page.html.jinja", content={"name": hostile})
    _, _, data = page.partition('id="data">')
    held = data.partition("</script>")[0]
    assert not set("<>&'") & set(held)
    assert json.loads(held) == {"name": hostile}
    with pytest.raises(ValueError, match="not JSON compliant"):
        render("explorer/page.html.jinja", content={"name": "", "z": float("nan")})


def test_an_image_is_held_as_data():
    assert data_address(b"abc", "png") == "data:image/png;base64,YWJj"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_marks_a_text_as_safe(path):
    tree = Environment().parse(path.read_text(encoding="utf-8"))
    assert "safe" not in {found.name for found in tree.find_all(nodes.Filter)}
    assert not list(tree.find_all((nodes.ScopedEvalContextModifier, nodes.EvalContextModifier)))
