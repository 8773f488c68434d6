"""What a process frees is kept, and goes back when it is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import numpy as np
from earwitness.core.allocator import give_back_freed_memory, keep_freed_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6

keep_freed_memory()
before = resident()
arrays = [np.ones(1_000_000) for _ in range(50)]
del arrays
kept = resident()
give_back_freed_memory()
print(kept - before, resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone is told")
def test_freed_memory_is_kept_until_it_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    kept_mb, left_mb = map(float, done.stdout.split())
    assert kept_mb > 300  # of 400
    assert left_mb < 50
