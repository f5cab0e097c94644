"""A device that Python may not wait for, without a GPU."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

META = torch.device("meta")
"""Computes nothing, so a number that Python asks for, or a branch on a tensor, raises."""


def stand_in_for_a_gpu(monkeypatch):
    """Give the meta device what a GPU has for packed runs: generators (the CPU's), autocast (unused), Tensor.new."""
    generator = torch.Generator
    monkeypatch.setattr(torch, "Generator", lambda device: generator())
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: False)
    monkeypatch.setattr(torch.Tensor, "new", torch.Tensor.new_empty)


class OnDevice(TorchDispatchMode):
    """Fails at a tensor that is not on the meta device, which stands for any but the host."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, torch.Tensor)]
        assert all(tensor.device.type == "meta" for tensor in tensors), f"{func} on a tensor of the host"
        return out


class Recordable(TorchDispatchMode):
    """Fails at what a captured graph cannot hold: waits for the device, in kernels too, and copies from the host."""

    WAITS = ("_local_scalar_dense", "is_nonzero", "_is_all_true", "equal", "nonzero", "masked_select", "_unique2")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        masks = [leaf for leaf in tree_leaves(args[1:]) if isinstance(leaf, torch.Tensor) and leaf.dtype == torch.bool]
        assert name not in self.WAITS, f"{name} waits for the device"
        assert name != "normal", "torch.normal looks at its standard deviations: use rsample or normal_"
        assert not (name.startswith("index") and masks), "indexing by a mask waits for the device"
        assert name != "lift_fresh", "torch.tensor of numbers is a copy from the host"
        return func(*args, **(kwargs or {}))


class NoWaitForCopies(TorchDispatchMode):
    """Fails, while `watching`, at a copy between the host and the meta device that Python would wait for on a GPU."""

    watching = False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        source, target = (
            (args[1], args[0]) if name == "copy_" else (args[0], out) if name == "_to_copy" else (None, None)
        )
        if self.watching and isinstance(source, torch.Tensor) and source.device != target.device:
            asynchronous = (kwargs or {}).get("non_blocking", len(args) > 2 and args[2])
            assert asynchronous, f"a copy from {source.device} to {target.device} waits for the device"
        return out
