"""The state of torch and scikit-learn that disvae computes with, whatever the program around it has set."""

import random
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


@contextmanager
def usual_defaults() -> Iterator[None]:
    """Compute in single precision, on the CPU unless told otherwise, with gradients and arrays; also a decorator.

    A notebook may have called torch.set_default_device("cuda"), for example. Imports nothing: a package that is not
    imported yet has its own defaults.
    """
    with ExitStack() as stack:
        if "sklearn" in sys.modules:
            from sklearn import config_context

            stack.enter_context(config_context(transform_output="default"))
        if "torch" in sys.modules:
            import torch

            stack.callback(torch.set_default_dtype, torch.get_default_dtype())
            torch.set_default_dtype(torch.float32)
            stack.enter_context(torch.inference_mode(False))
            if torch.get_default_device().type != "cpu":  # it costs time at every call of torch
                stack.enter_context(torch.device("cpu"))
        yield


@contextmanager
def kept_random_numbers() -> Iterator[None]:
    """Let the program's random numbers go on afterwards as if nothing had been computed; also a decorator."""
    with ExitStack() as stack:
        stack.callback(random.setstate, random.getstate())
        if "numpy" in sys.modules:
            import numpy as np

            stack.callback(np.random.set_state, np.random.get_state())
        if "torch" in sys.modules:
            import torch

            devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
            stack.enter_context(torch.random.fork_rng(devices))
        yield
