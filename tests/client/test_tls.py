"""Encrypted connections, with certificates made for the occasion."""
# ruff: noqa: N802 - servicers have the names of the contract

import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from modelwire import Client, Unavailable
from modelwire.v1 import runner_service_pb2
from modelwire.v1.runner_service_pb2_grpc import RunnerServiceServicer, add_RunnerServiceServicer_to_server

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificates with openssl")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)
    return folder


class Guarded(RunnerServiceServicer):
    def ListRunners(self, request: Any, context: Any) -> runner_service_pb2.ListRunnersResponse:
        peer = context.auth_context().get("x509_common_name", [b"nobody"])[0].decode()
        return runner_service_pb2.ListRunnersResponse(runners=[runner_service_pb2.RunnerInfo(id=peer)])


@pytest.fixture(params=[False, True], ids=["server", "mutual"])
def served(request: pytest.FixtureRequest, certificate: Path) -> Iterator[tuple[str, str]]:
    """A target, and the name under which it knows the client."""
    key, chain = (certificate / "key.pem").read_bytes(), (certificate / "certificate.pem").read_bytes()
    credentials = grpc.ssl_server_credentials([(key, chain)], chain, require_client_auth=request.param)
    server = grpc.server(ThreadPoolExecutor(1))
    add_RunnerServiceServicer_to_server(Guarded(), server)
    port = server.add_secure_port("localhost:0", credentials)
    server.start()
    yield f"localhost:{port}", "localhost" if request.param else "nobody"
    server.stop(0).wait()


@pytest.fixture
def target(served: tuple[str, str]) -> str:
    return served[0]


def test_a_trusted_server(served: tuple[str, str], certificate: Path) -> None:
    target, name = served
    with Client(
        target,
        root_certificates=certificate / "certificate.pem",
        private_key=(certificate / "key.pem").read_bytes(),
        certificate_chain=str(certificate / "certificate.pem"),
    ) as client:
        assert client.runners.list()[0].id == name


def test_a_server_that_is_not_trusted(target: str) -> None:
    with Client(target, tls=True) as client, pytest.raises(Unavailable, match=f"cannot reach modelwire at {target}"):
        client.runners.list()


def test_without_encryption(target: str) -> None:
    with Client(target) as client, pytest.raises(Unavailable):
        client.runners.list()
