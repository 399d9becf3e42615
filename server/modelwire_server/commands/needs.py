"""What a command needs beyond the client, said in a sentence when it is missing."""

from collections.abc import Iterator
from contextlib import contextmanager

from modelwire.cli.ends import Stop

# Modules whose package has another name.
PACKAGES = {"sklearn": "scikit-learn", "google": "googleapis-common-protos", "psycopg": '"psycopg[binary]"'}
PANEL = "Serve models"


@contextmanager
def server_packages() -> Iterator[None]:
    """Turns a missing module of the server into a Stop."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("modelwire"):
            raise
        raise Stop(f"this needs the Python module {error.name}", hint='pip install "modelwire[server]"') from None


def require(module: str) -> None:
    """Raises Stop if a module is not installed."""
    from importlib.util import find_spec

    if find_spec(module) is None:
        raise Stop(f"this needs the Python module {module}", hint=f"pip install {PACKAGES.get(module, module)}")
