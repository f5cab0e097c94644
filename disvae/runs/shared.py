"""What several runs of a sweep compute alike, such as the scores of baselines, is computed by one of them.

The launcher names a temporary folder for it, which ends with the sweep, so a result never outlives the code that
computed it. A run on its own has none and computes everything. Imports no torch.
"""

import contextlib
import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from disvae.config import ConfigError
from disvae.runs.atomic import write_atomically

SHARED_FOLDER = "DISVAE_SHARED"
"""The environment variable that holds the folder."""

T = TypeVar("T")


def once(compute: Callable[[], T], key: Any, shareable: Callable[[T], bool] = lambda result: True) -> T:
    """Return compute(), or what another run of the sweep got for an equal `key`, which holds all that it depends on.

    A result that is not `shareable`, such as a failure, is not kept.
    """
    folder = os.environ.get(SHARED_FOLDER)
    if folder is None:
        return compute()
    path = Path(folder) / hashlib.sha256(pickle.dumps(key)).hexdigest()
    with contextlib.suppress(OSError):  # nobody has computed it yet
        found: T = pickle.loads(path.read_bytes())
        return found
    result = compute()
    if not shareable(result):
        return result
    with contextlib.suppress(ConfigError):  # a full disk, or a sweep that has ended: others compute it again
        write_atomically(path, pickle.dumps(result))
    return result
