"""What another run of a sweep has computed is taken from it, and without a sweep everything is computed."""

import numpy as np

from disvae.runs.shared import SHARED_FOLDER, once


def test_equal_keys_are_computed_once_in_a_sweep_and_each_time_without(monkeypatch, tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return {"codes": np.arange(6.0)}

    key = ("mig", np.arange(3), {"bins": 20})
    monkeypatch.delenv(SHARED_FOLDER, raising=False)
    once(compute, key)
    once(compute, key)
    assert len(calls) == 2
    monkeypatch.setenv(SHARED_FOLDER, str(tmp_path))
    first, again = once(compute, key), once(compute, ("mig", np.arange(3), {"bins": 20}))
    assert len(calls) == 3
    np.testing.assert_array_equal(first["codes"], again["codes"])
    for other in (("mig", np.arange(4), {"bins": 20}), ("mig", np.arange(3), {"bins": 21})):
        once(compute, other)
    assert len(calls) == 5
    for _ in range(2):
        once(compute, "failed", lambda result: False)
    assert len(calls) == 7
    assert len(list(tmp_path.iterdir())) == 3  # no temporary file is left
    monkeypatch.setenv(SHARED_FOLDER, str(tmp_path / "ended"))  # the sweep removes its folder before its last job ends
    assert once(compute, key)["codes"].sum() == 15
