"""Python values as the settings of a command line."""

import re
from collections.abc import Mapping
from typing import Any


def as_override(value: Any) -> str:
    """Return a value as the command line writes it: [1, None] is [1,null], {"a": True} is {a:true}."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{as_override(child)}" for key, child in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(as_override, value))}]"
    text = str(value)
    if re.fullmatch(r"[\w.+/-]+", text, re.ASCII):
        return text
    escaped = re.sub(r'(\\*)("|\Z)', lambda found: 2 * found[1] + found[2].replace('"', r"\""), text)
    return f'"{escaped}"'
