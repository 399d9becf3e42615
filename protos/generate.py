"""Generates client/modelwire/v1 from the contract, and in the server the messages of the Open Inference Protocol.

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
# Where the modules of the other protocol are, and as what they are imported.
INFERENCE = ROOT / "server" / "modelwire_server" / "protocols" / "open_inference" / "v2"
INFERENCE_MODULES = INFERENCE.relative_to(ROOT / "server")
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
    run_protoc(into, [f"--proto_path={PROTOS}"], sorted(PROTOS.glob("modelwire/v1/*.proto")), PROTOS)
    for unused in into.glob("modelwire/v1/*_pb2_grpc.py*"):
        if not unused.name.split("_pb2_grpc")[0].endswith("_service"):
            unused.unlink()


def generate_inference(into: Path) -> None:
    """Writes the modules of the Open Inference Protocol below `into`, as parts of the server.

    Their messages go into a pool of their own: runners may import the clients of other servers, which put the same names, in files of
    other names, into the pool that all share."""
    folder = PROTOS / "inference"
    run_protoc(into, [f"--proto_path={INFERENCE_MODULES}={folder}"], sorted(folder.glob("*.proto")), folder, INFERENCE_MODULES)
    for module in (into / INFERENCE_MODULES).glob("*_pb2.py"):
        text = module.read_text()
        assert text.count(SHARED_POOL) == text.count(SHARED_POOL_IMPORT) == 1, module
        module.write_text(text.replace(SHARED_POOL_IMPORT, OWN_POOL_IMPORT).replace(SHARED_POOL, OWN_POOL))


SHARED_POOL_IMPORT, SHARED_POOL = "from google.protobuf import descriptor_pool as _descriptor_pool\n", "_descriptor_pool.Default()"
OWN_POOL_IMPORT, OWN_POOL = "from .pool import POOL as _pool\n", "_pool"


def run_protoc(into: Path, paths: list[str], protos: list[Path], folder: Path, name: Path | None = None) -> None:
    """Runs all generators over `protos`, which are imported by their paths below `folder`, or as if that were called `name`."""
    well_known = Path(str(files("grpc_tools"))) / "_proto"
    plugins = Path(sys.executable).parent
    arguments = [
        "protoc",
        *paths,
        f"--proto_path={common_protos()}",
        f"--proto_path={well_known}",
        f"--plugin=protoc-gen-mypy={plugins / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={plugins / 'protoc-gen-mypy_grpc'}",
        f"--python_out={into}",
        f"--grpc_python_out={into}",
        f"--mypy_out=quiet:{into}",
        f"--mypy_grpc_out=quiet:{into}",
        *(str((name or Path()) / path.relative_to(folder)) for path in protos),
    ]
    if protoc.main(arguments) != 0:
        raise SystemExit("protoc failed")


def differences(fresh: Path, committed: Path) -> list[str]:
    names = {path.name for folder in (fresh, committed) for path in folder.glob("*_pb2*.py*")}
    _, changed, missing = filecmp.cmpfiles(fresh, committed, sorted(names), shallow=False)
    return changed + missing


def replace(fresh: Path, committed: Path) -> None:
    for old in committed.glob("*_pb2*.py*"):
        old.unlink()
    shutil.copytree(fresh, committed, dirs_exist_ok=True)
    print(f"wrote {len(list(fresh.iterdir()))} files to {committed.relative_to(ROOT)}")


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
        generate_inference(Path(folder))
        made = {Path(folder) / "modelwire" / "v1": GENERATED, Path(folder) / INFERENCE_MODULES: INFERENCE}
        if not arguments.check:
            for fresh, committed in made.items():
                replace(fresh, committed)
        elif stale := [name for fresh, committed in made.items() for name in differences(fresh, committed)]:
            raise SystemExit(f"generated code is stale: {', '.join(sorted(stale))}. Run `make protos`.")


if __name__ == "__main__":
    main()
