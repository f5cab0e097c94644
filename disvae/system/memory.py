"""Let the C allocator keep freed memory, so that the next training step causes no page faults.

By default glibc returns freed blocks above 128 KiB to the kernel. A training step frees hundreds of them and allocates
the same sizes again. docs/performance.md shows the effect on speed; results do not change.
"""

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h


def keep_freed_memory() -> bool:
    """Tune the allocator of this process; return False, without any change, if the C library is not glibc."""
    if sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"):
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = {M_MMAP_THRESHOLD: 1 << 30, M_TRIM_THRESHOLD: (1 << 31) - 1, M_TOP_PAD: 64 << 20}
    return all(mallopt(option, value) for option, value in settings.items())
