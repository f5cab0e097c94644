"""A value of Python is read back from its setting as it was."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from disvae.system.overrides import as_override

TEXTS = ("", "conv", "it's", 'a "b"', "a,b", "x=1", "/a b/$c", "1,2", "ü", "日本", "a\\b", "a\\", 'a\\"', 'a\\\\"\\\\')


@pytest.mark.parametrize("value", [1, 1.5e-7, True, None, [1, "a b"], {"a": [None, 2]}, *TEXTS])
def test_a_python_value_is_the_value_of_the_setting(value):
    (override,) = OverridesParser.create().parse_overrides([f"key={as_override(value)}"])
    assert override.value() == value
