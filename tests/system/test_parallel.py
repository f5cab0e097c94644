import subprocess
import sys

from disvae.system.parallel import all_at_once

PROGRAM = """
import os, signal, sys, time
from disvae.config import ConfigError
from disvae.system.parallel import all_at_once

os.sched_getaffinity = lambda pid: {0, 1}
first = os.getpid()
held = {"a": lambda: 1}  # functions are not pickled, results are

def refuse():
    raise ConfigError("alpha=-1 is negative")

def killed():
    if os.getpid() != first:
        os.kill(os.getpid(), signal.SIGKILL)
    return "by this process"

def other():
    time.sleep(0.2)
    return os.getpid() != first

print(all_at_once([other, lambda: held["a"]() + 1, other]))
print(all_at_once([killed, other]))
try:
    all_at_once([other, refuse])
except ConfigError as error:
    print(error)
sys.modules["torch"] = None
print(all_at_once([other, other]))
"""


def test_parts_are_computed_in_order_by_copies_of_the_process():
    found = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    lines = ["[True, 2, True]", "['by this process', False]", "alpha=-1 is negative", "[False, False]"]
    assert (found.stdout.splitlines(), found.stderr) == (lines, "")


def test_no_parts_have_no_results():
    assert all_at_once([]) == []
