"""What a server tells the C library and Python's collector."""

import subprocess
import sys
from pathlib import Path

import pytest

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


IN_THREADS = """
import ctypes, threading
from modelwire_server.memory import tune_memory

assert tune_memory()
import pyarrow

blocks = []
threads = [threading.Thread(target=lambda: blocks.append(bytearray(1 << 20))) for _ in range(4)]
for one in threads:
    one.start()
for one in threads:
    one.join()
ctypes.CDLL(None).malloc_stats()
"""


def test_threads_share_one_heap() -> None:
    """Each would keep for itself what a large frame needed on its way through it."""
    done = subprocess.run([sys.executable, "-c", IN_THREADS], capture_output=True, text=True, check=True)
    assert done.stderr.count("Arena ") == 1


SERVER = """
import asyncio, sys
from pathlib import Path
from modelwire_server import app
from modelwire_server.settings import Settings

async def main(folder):
    settings = Settings.load(None, targets=[sys.argv[2]], grpc_port=0, http_port=0, data_dir=Path(folder), log_level="error")
    async with app.running(settings):
        print("imported", *sys.modules)

asyncio.run(main(sys.argv[1]))
"""
# Each takes megabytes of every server, for what only some do, or what is done by a process of its own.
NOT_FOR_SERVING = {
    *("alembic", "mako", "psycopg", "sqlalchemy.dialects.postgresql"),
    *("pandas", "polars", "scipy", "sklearn", "skops"),
    *("onnx", "onnxruntime", "skl2onnx", "safetensors"),
    *("mlflow", "obstore", "yaml", "jsonschema", "requests", "httpx"),
    *("pyarrow.dataset", "pyarrow.flight", "pyarrow.parquet"),
}


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What the process of a new server has imported whose runner needs nothing."""
    target = f"{Path(__file__).parents[1] / 'row_runners.py'}:rows"
    command = [sys.executable, "-c", SERVER, str(tmp_path_factory.mktemp("server")), target]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(next(line for line in done.stdout.splitlines() if line.startswith("imported ")).split())


def test_a_server_imports_only_what_it_serves_with(imported: set[str]) -> None:
    assert {"modelwire_server.front", "pyarrow", "sqlalchemy.dialects.sqlite"} <= imported
    assert imported & NOT_FOR_SERVING == set()
