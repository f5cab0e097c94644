"""Docstrings can be read by themselves: the rules of plain words that a program can check."""

import ast
from collections.abc import Iterator
from pathlib import Path

import disvae

ROOT = Path(disvae.__file__).parent
PRONOUNS = ("Of", "That", "Those", "The same", "Both", "None")
"""First words of a docstring that is about its neighbour."""

LEAST_WORDS = 4
JARGON = ("knob", "not to be had", "not yours to set")
"""Words for which the field has another: setting, not available, set by disvae."""


def docstrings() -> Iterator[tuple[str, str]]:
    """Where each docstring stands, and its text, those of constants included."""
    for path in sorted(ROOT.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            documented = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
            if documented and (text := ast.get_docstring(node)):
                yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}", text
            if isinstance(node, (ast.Module, ast.ClassDef)):
                for before, after in zip(node.body, node.body[1:], strict=False):
                    if isinstance(before, (ast.Assign, ast.AnnAssign)) and isinstance(after, ast.Expr):
                        assert isinstance(after.value, ast.Constant)
                        yield f"{path.relative_to(ROOT)}:{after.lineno}", str(after.value.value)


def test_no_docstring_is_shorter_than_four_words():
    short = [f"{where} {text!r}" for where, text in docstrings() if len(text.split()) < LEAST_WORDS]
    assert not short


def test_no_docstring_begins_with_a_word_for_its_neighbour():
    riddles = [
        f"{where} {text.splitlines()[0]!r}"
        for where, text in docstrings()
        if text.startswith(tuple(f"{word}{end}" for word in PRONOUNS for end in " ,.:;"))
    ]
    assert not riddles


def test_the_words_are_the_fields():
    texts = [*ROOT.rglob("*.py"), *ROOT.rglob("*.jinja"), *(ROOT.parent / "conf").rglob("*.yaml")]
    texts += [*(ROOT.parent / "docs").glob("*.md"), ROOT.parent / "README.md"]
    found = [
        f"{path.relative_to(ROOT.parent)}: {word}"
        for path in texts
        for word in JARGON
        if word in path.read_text(encoding="utf-8").lower()
    ]
    assert not found
