"""The forms of a run folder's files: what each may hold, checked once, when the file is read. Imports no torch."""

import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

_STATES = ("new", "running", "finished", "interrupted", "killed", "diverged", "failed")
"""The states of a run; `new` and `killed` are never written, they are what a missing folder or lock means."""

MAPPINGS = (dict, Mapping)  # a test for Mapping alone takes ten times as long

_LARGEST = 2**63  # whole numbers beyond it are no counts and cannot become elements of arrays

DEEPEST = 30
"""The deepest nesting that a configuration may have; a much deeper one overflows the parser's stack."""


@dataclass(frozen=True)
class Kind:
    """A kind of values: its name in messages, and the test of a value."""

    name: str
    test: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (type(value) is int and abs(value) < _LARGEST)


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, (str, bool)) or _is_number(value)


TEXT = Kind("a text", lambda value: isinstance(value, str))
OPTIONAL_TEXT = Kind("a text or null", lambda value: value is None or isinstance(value, str))
NUMBER = Kind("a number (large whole ones as 1e20)", _is_number)
OPTIONAL_NUMBER = Kind("a number or null", lambda value: value is None or isinstance(value, float) or _is_number(value))
COUNT = Kind("a whole number >= 0", lambda value: type(value) is int and 0 <= value < _LARGEST)
OPTIONAL_COUNT = Kind("a whole number >= 0 or null", lambda value: value is None or COUNT.test(value))
MAPPING = Kind("a mapping", lambda value: isinstance(value, Mapping))
TREE = Kind("a text, a number (large whole ones as 1e20), true, false or null", _is_scalar)
TARGET = Kind("the name of a class", lambda value: isinstance(value, str) and "." in value)
STATE = Kind(f"one of {', '.join(_STATES)}", lambda value: value in _STATES)

Form = Kind | list[Any] | dict[str, Any]
"""A kind, a list of one form for all items, or a form for each key; TREE also takes lists and mappings of its kind.

A key that ends with `?` may be missing, and `*` stands for all other keys; without it other keys may hold anything.
"""

STATUS: Form = {"state": STATE, "step": COUNT, "error?": TEXT}
METRICS: Form = {"*": NUMBER}
PROVENANCE: Form = {
    "sessions?": [
        {
            "command?": TEXT,
            "started?": TEXT,
            "packages?": {"*": TEXT},
            "seconds?": {"*": NUMBER},
            "packed?": COUNT,
            "*": TREE,
        }
    ]
}
SCORE: Form = {"value": OPTIONAL_NUMBER, "se": OPTIONAL_NUMBER, "low": OPTIONAL_NUMBER, "high": OPTIONAL_NUMBER}
SCORES: Form = {
    "*": {  # stage
        "*": {  # metric
            "scores": {"*": {"*": SCORE}},  # score, source
            "chance": {"*": NUMBER},
            "failed": {"*": TEXT},
            "settings": {"*": TREE},
            "protocol": {
                "samples?": COUNT,
                "population?": OPTIONAL_COUNT,
                "latents?": COUNT,
                "constant_latents?": COUNT,
                "step?": COUNT,
                "runs?": [TEXT],
                "*": TREE,
            },
        }
    }
}
NODE: Form = {"_target_": TARGET, "*": TREE}
CONFIG: Form = {
    **dict.fromkeys(("dataset", "model", "prior", "posterior", "likelihood", "objective", "optimizer"), NODE),
    **dict.fromkeys(("seed", "steps", "z_dim", "batch_size", "eval_every"), COUNT),
    **{key: {"*": NODE} for key in ("metric?", "figure?", "callbacks?", "logger?")},
    "trainer": {"*": TREE},
    "split": {"*": OPTIONAL_NUMBER},
    "score": {"*": TREE},
    "beta?": NUMBER,
    "alpha?": NUMBER,
    "*": TREE,
}


def mismatch(value: Any, form: Form, where: str = "") -> str:
    """Return in one line how a value differs from a form, or an empty text if it does not; `where` names the value."""
    if form is TREE:
        form = [TREE] if isinstance(value, list) else {"*": TREE} if isinstance(value, MAPPINGS) else form
    if isinstance(form, Kind):
        return "" if form.test(value) else f"{where} must be {form.name}, got {reprlib.repr(value)}"
    if isinstance(form, list):
        if not isinstance(value, list):
            return f"{where} must be a list, got {reprlib.repr(value)}"
        return next(filter(None, (mismatch(item, form[0], f"{where}[{i}]") for i, item in enumerate(value))), "")
    if not isinstance(value, MAPPINGS):
        return f"{where or 'the content'} must be a mapping, got {reprlib.repr(value)}"
    above = f"{where}." if where else ""
    for key in form:  # in their order, so that the message is always the same
        if key.isidentifier() and key not in value:
            return f"{above}{key} is missing"
    others = form.get("*")
    for key, child in value.items():
        if not isinstance(key, str):
            return f"{where or 'the content'} has the key {reprlib.repr(key)}, which is no text"
        of = form[key] if key in form else form.get(f"{key}?", others)
        if of is None or (isinstance(of, Kind) and of.test(child)):  # scores.json has thousands of values
            continue
        if wrong := mismatch(child, of, f"{above}{key}"):
            return wrong
    return ""


def with_form(value: Any, form: Form) -> dict[str, Any]:
    """Return a mapping that has the form.

    Raises:
        ValueError: saying in one line what is wrong.
    """
    if wrong := mismatch(value, form):
        raise ValueError(wrong)
    return dict(value)


def yaml_tree(text: str) -> Any:
    """Return the content of a YAML file of plain settings.

    Raises:
        ValueError: the file holds references, which a configuration never does, or is nested too deeply.
        yaml.YAMLError: the text is not YAML.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast as OmegaConf's
    depth = 0
    for event in yaml.parse(text, loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) or depth > DEEPEST:
            raise ValueError("it refers to its own parts" if depth <= DEEPEST else "it is nested too deeply")
    return yaml.load(text, loader)
