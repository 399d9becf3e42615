"""`modelwire` and `python -m modelwire`."""

from modelwire.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
