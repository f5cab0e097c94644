"""Let the C allocator keep what a step frees, so that the next step's activations cost no page faults.

glibc returns every block above 128 KiB to the kernel when it is freed; a training step frees hundreds and asks for the
same again. The effect is in docs/performance.md; results do not change.
"""

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h


def keep_freed_memory() -> bool:
    """Tune glibc's allocator for this process; False where the C library is another, which changes only speed."""
    if sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"):
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = {M_MMAP_THRESHOLD: 1 << 30, M_TRIM_THRESHOLD: (1 << 31) - 1, M_TOP_PAD: 64 << 20}
    return all(mallopt(option, value) for option, value in settings.items())
