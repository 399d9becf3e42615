"""What the server adds to the command line. Light: whatever is heavy is imported when a command runs."""

from .administering import admin
from .checking import check
from .demonstrating import demo
from .forwarding import gateway
from .initiating import init
from .packaging import package
from .serving import serve

__all__ = ["admin", "check", "demo", "gateway", "init", "package", "serve"]
