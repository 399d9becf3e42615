"""Generates client/modelwire/v1 from the contract.

Runs in an environment of its own (protos/requirements.lock): the version of the generator is the floor of grpcio and protobuf at
run time, so it is older than what the server runs on.

    python protos/generate.py            # write the generated code
    python protos/generate.py --check    # fail if it is not what the contract says
    python protos/generate.py --imports  # only copy what buf needs of googleapis
"""

import argparse
import filecmp
import shutil
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from google.api import annotations_pb2
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
GENERATED = ROOT / "client" / "modelwire" / "v1"
# What buf needs of googleapis, as a module beside ours (see buf.yaml); never committed.
GOOGLEAPIS = ROOT / ".googleapis"
IMPORTED = ("google/api/annotations.proto", "google/api/field_behavior.proto", "google/api/http.proto", "google/rpc/status.proto")


def common_protos() -> Path:
    """The include folder that googleapis-common-protos installs."""
    return Path(annotations_pb2.__file__).parent.parent.parent


def copy_googleapis() -> None:
    for name in IMPORTED:
        target = GOOGLEAPIS / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(common_protos() / name, target)


def generate(into: Path) -> None:
    """Writes modules, services and their typed stubs below `into`/modelwire/v1."""
    well_known = Path(str(files("grpc_tools"))) / "_proto"
    plugins = Path(sys.executable).parent
    arguments = [
        "protoc",
        f"--proto_path={PROTOS}",
        f"--proto_path={common_protos()}",
        f"--proto_path={well_known}",
        f"--plugin=protoc-gen-mypy={plugins / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={plugins / 'protoc-gen-mypy_grpc'}",
        f"--python_out={into}",
        f"--grpc_python_out={into}",
        f"--mypy_out=quiet:{into}",
        f"--mypy_grpc_out=quiet:{into}",
        *(str(path.relative_to(PROTOS)) for path in sorted(PROTOS.glob("modelwire/v1/*.proto"))),
    ]
    if protoc.main(arguments) != 0:
        raise SystemExit("protoc failed")
    for unused in into.glob("modelwire/v1/*_pb2_grpc.py*"):
        if not unused.name.split("_pb2_grpc")[0].endswith("_service"):
            unused.unlink()


def differences(fresh: Path) -> list[str]:
    names = {path.name for folder in (fresh, GENERATED) for path in folder.glob("*_pb2*.py*")}
    _, changed, missing = filecmp.cmpfiles(fresh, GENERATED, sorted(names), shallow=False)
    return changed + missing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with what is committed, write nothing")
    parser.add_argument("--imports", action="store_true", help="only copy what the contract imports, for buf")
    arguments = parser.parse_args()
    copy_googleapis()
    if arguments.imports:
        return
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh = Path(folder) / "modelwire" / "v1"
        if not arguments.check:
            for old in GENERATED.glob("*_pb2*.py*"):
                old.unlink()
            shutil.copytree(fresh, GENERATED, dirs_exist_ok=True)
            print(f"wrote {len(list(fresh.iterdir()))} files to {GENERATED.relative_to(ROOT)}")
        elif stale := differences(fresh):
            raise SystemExit(f"generated code is stale: {', '.join(sorted(stale))}. Run `make protos`.")


if __name__ == "__main__":
    main()
