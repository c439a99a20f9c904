"""The C library's allocator, told to keep what a job frees."""

from __future__ import annotations

import ctypes


def keep_freed_memory() -> bool:
    """Have the C library keep what this process frees instead of giving it back; False where it cannot be told (no glibc).

    By default a tensor of more than 32 MB, and often a smaller one, is fresh from the system each time: every page of it
    is zeroed and faulted in anew. Steps that allocate tensors of some MB take up to a third less time without that.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    # malloc.h: the size from which blocks are mapped one by one, the free top that is trimmed, what is asked for beyond need.
    settings = {-3: 32 * 2**20, -1: 2**31 - 1, -2: 64 * 2**20}
    return all([mallopt(name, value) for name, value in settings.items()])
