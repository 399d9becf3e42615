"""What is shipped is three packages and nothing else, and the client alone is light."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

PACKAGES = {"modelwire", "modelwire_runners", "modelwire_server"}


def test_the_wheel_holds_just_our_packages(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES
    assert {name for name in names if name.endswith("py.typed")} == {f"{package}/py.typed" for package in PACKAGES}


def test_the_wheel_holds_all_that_the_packages_need(wheel: Path, root: Path) -> None:
    shipped = set(zipfile.ZipFile(wheel).namelist())
    sources = (root / "client", root / "runners", root / "server")
    expected = {
        path.relative_to(source).as_posix()
        for source in sources
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert expected <= shipped


def test_the_wheel_carries_the_licence(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/licenses/LICENSE")]
    assert "Apache License" in archive.read(name).decode()


@pytest.fixture(scope="module")
def clean(wheel: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment with nothing but the wheel and what a plain install brings along."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder / "venv", with_pip=True)
    programs = folder / "venv" / "bin"
    pinned = [line.split(" \\")[0] for line in (root / "requirements.lock").read_text().splitlines() if "==" in line]
    (folder / "constraints.txt").write_text("\n".join(pinned))
    install = [programs / "pip", "install", "--quiet", "--constraint", folder / "constraints.txt", wheel]
    subprocess.run(install, check=True, capture_output=True, env=clean_environment(), timeout=110)
    return programs


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("COV", "PYTHON", "VIRTUAL_ENV"))}


def run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *arguments], capture_output=True, text=True, env=clean_environment(), timeout=60, check=False)


IMPORT = """
import importlib.util, sys, time
for heavy in ("sqlalchemy", "pandas", "sklearn", "starlette"):
    assert importlib.util.find_spec(heavy) is None, heavy
begin = time.perf_counter()
import modelwire
print(time.perf_counter() - begin)
modelwire.Client
"""


@pytest.mark.slow
@pytest.mark.network
def test_a_plain_install_imports_quickly_without_the_heavy_libraries(clean: Path) -> None:
    runs = [run(clean / "python", "-c", IMPORT) for _ in range(5)]
    assert all(done.returncode == 0 for done in runs), runs[0].stderr
    assert min(float(done.stdout) for done in runs) < 0.4


@pytest.mark.slow
@pytest.mark.network
def test_a_plain_install_has_the_command_line(clean: Path) -> None:
    assert "Usage" in run(clean / "modelwire", "--help").stdout


@pytest.mark.slow
@pytest.mark.network
def test_without_the_server_serve_says_how_to_get_it(clean: Path) -> None:
    done = run(clean / "modelwire", "serve", "service.py:runner")
    assert done.returncode != 0
    assert "modelwire[server]" in done.stdout + done.stderr


def test_importing_the_client_loads_no_heavy_library() -> None:
    code = "import modelwire, sys; print(*sorted({'pandas', 'polars', 'pydantic', 'sklearn', 'sqlalchemy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=clean_environment())
    assert done.stdout.strip() == ""
