"""What a process keeps of freed memory changes how often the system is asked for pages, and nothing else."""

import platform
import subprocess
import sys

import pytest

from tl_research.answer.workers import one_thread
from tl_research.parallel.freed_memory import keep_freed_memory

SCRIPT = """
import ctypes, resource, sys
from tl_research.parallel.freed_memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    places = [libc.malloc(100_000) for _ in range(100)]
    for place in places:
        ctypes.memset(place, 1, 100_000)
    for place in places:
        libc.free(place)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone has mallopt")
def test_freed_memory_is_not_asked_for_again():
    faults = {
        how: int(subprocess.run([sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True).stdout)
        for how in ("keep", "default")
    }
    assert faults["keep"] < 2 * 100 * 100_000 / 4096
    assert faults["default"] > 5 * faults["keep"]


def test_what_compare_computes_keeps_it():
    keep_freed_memory.cache_clear()
    with one_thread():
        assert keep_freed_memory.cache_info().currsize == 1
