"""The C allocator, told that large buffers come and go all the time."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_MMAP_BYTES = 32 << 20  # the largest that glibc takes
_TRIM_BYTES = 128 << 20


def keep_large_buffers() -> bool:
    """Have glibc reuse memory of values and fragments instead of mapping it anew each time.

    Fresh mappings cost a page fault per 4 KiB, more than encoding them. False, and nothing is
    changed, where the C library is another one.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    mapped = mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
    trimmed = mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)
    return bool(mapped and trimmed)
