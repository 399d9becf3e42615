"""What the server adds to the command line. Light: whatever is heavy is imported when a command runs."""

from .checking import check
from .demonstrating import demo
from .initiating import init
from .serving import serve

__all__ = ["check", "demo", "init", "serve"]
