"""How this process deals with memory: what is told to the C library and to Python's collector at the start of a server."""

import ctypes
import gc

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
# Blocks up to this size come from the heap, whose pages are there already, instead of being asked of the kernel each time; the C library
# knows no more.
LARGEST_FROM_HEAP = 32 << 20
# So much free memory the heap keeps, so that the next large message finds it.
KEPT_FREE = 128 << 20
# So many heaps threads have between them. Large messages pass through several threads; with a heap for each, as is the rule, the same
# memory would be kept free in all of them. Python lets one thread allocate at a time anyway.
HEAPS = 1
# Predictions make objects by the thousand that all go by themselves: the collector, which finds nothing, need not look each 700.
NEW_OBJECTS = 20_000


def tune_memory() -> bool:
    """Sets it all up; tells whether the C library is one that takes advice (glibc). To be called before there are threads: heaps that
    there are stay in use."""
    gc.set_threshold(NEW_OBJECTS, 20, 20)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    advice = ((_M_MMAP_THRESHOLD, LARGEST_FROM_HEAP), (_M_TRIM_THRESHOLD, KEPT_FREE), (_M_ARENA_MAX, HEAPS))
    return all(bool(mallopt(option, value)) for option, value in advice)
