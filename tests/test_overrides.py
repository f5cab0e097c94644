"""What a command line answers: whatever is typed, one line that names the setting, and no trace."""

import os
import random
import re
import sys
import time

import pytest

from disvae import train
from disvae.config import LISTS, conf_dir, options
from disvae.system.overrides import known_settings

NUMBER = int(os.environ.get("DISVAE_RANDOM_OVERRIDES", "25"))
"""Number of random command lines; type DISVAE_RANDOM_OVERRIDES=500 for a thorough search."""

SEED = int(os.environ.get("DISVAE_RANDOM_SEED", "0"))

VALUES = [
    "", "null", "true", "0", "-1", "1", "2", "0.5", "1e30", "inf", "nan", "2147483648", "9223372036854775808", "abc",
    "β", "~", "a=b", "[", "[]", "[1]", "[[1]]", "[a,b]", "{}", "{a:1}", "${nothing}", "${steps}", "1,2",
]  # fmt: skip
FORMS = ("{}={}", "{}={}", "{}={}", "{}={}", "+{}={}", "++{}={}", "~{}", "{}", "{}x={}", "{}.x={}")


def random_overrides(rng: random.Random) -> list[str]:
    """Return an override of a random setting or group, often with the choice that has the setting."""
    known = known_settings()
    groups = [path.name for path in conf_dir().iterdir() if path.is_dir() and path.name not in ("hydra", "dataset")]
    if rng.random() < 0.15:
        group = rng.choice(groups)
        return [rng.choice(FORMS).format(group, rng.choice([*options(group), *VALUES]))]
    key = rng.choice([key for key, choices in known.items() if not any("dataset=" in choice for choice in choices)])
    choices = known[key]
    typed = [rng.choice(choices)] if choices and rng.random() < 0.8 else []
    return [*typed, rng.choice(FORMS).format(key, rng.choice(VALUES))]


@pytest.fixture
def answer(tiny, tmp_path, monkeypatch, capsys):
    """Return a function that types overrides, and returns the exit status and what was said on stderr."""
    monkeypatch.chdir(tmp_path)

    def type_(*overrides: str) -> tuple[int, str]:
        quick = [each for each in tiny if not each.startswith(("steps", "eval_every"))]
        monkeypatch.setattr(sys, "argv", ["disvae-train", *quick, "steps=2", "batch_size=50", "metric=[]", *overrides])
        try:
            train.main()
        except SystemExit as end:
            return int(end.code or 0), capsys.readouterr().err
        return 0, capsys.readouterr().err

    return type_


@pytest.mark.parametrize("number", range(NUMBER))
def test_a_random_override_is_obeyed_or_refused_in_a_line_that_names_it(answer, tmp_path, number):
    overrides = random_overrides(random.Random(f"{SEED} {number}"))
    started = time.monotonic()
    status, said = answer(*overrides)
    told = f"{overrides}: {status} {said}"
    assert status in (0, 2, 4), told
    assert time.monotonic() - started < 60, told
    assert not re.search("Traceback|HYDRA_FULL_ERROR|Error executing", said), told
    if status == 2:
        lines = said.splitlines()
        words = re.split(r"[.@=]", overrides[-1].lstrip("+~"))
        assert len(lines) == 1, told
        assert lines[0].startswith("disvae: "), told
        assert words[0] in lines[0] or (words[0] in LISTS and words[1] in lines[0]), told
        assert not [path for path in tmp_path.rglob("*") if path.name == "status.json"], told
