"""`modelwire` and `python -m modelwire`."""

import os

# gRPC's core writes to standard error what is normal for it, such as a server that goes away; we say ourselves what went wrong.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

from modelwire.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
