"""What a server tells the C library and Python's collector."""

import subprocess
import sys

PROGRAM = """
import gc, resource
from modelwire_server.memory import NEW_OBJECTS, tune_memory

def faults():
    begin = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        bytearray(8 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begin

before = faults()
assert tune_memory()
faults()
print(before, faults(), gc.get_threshold()[0] == NEW_OBJECTS)
"""


def test_large_blocks_find_their_pages_again() -> None:
    """Ten blocks of 8 MiB are 20,480 pages."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    before, after, spared = done.stdout.split()
    assert int(before) > 2000
    assert int(after) < 500
    assert spared == "True"
