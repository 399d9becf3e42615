"""What the server allows a connection."""

from dataclasses import dataclass, field

from .keepalive import KeepaliveRules


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionRules:
    """Sizes are in bytes. `max_streams` is for those that are answered and done with; as many as stay open may come on top of that, up to
    `max_open`."""

    max_streams: int = 100
    max_open: int = 4096
    stream_window: int = 2 << 20
    window: int = 16 << 20
    max_frame: int = 1 << 20
    max_header_bytes: int = 64 << 10
    keepalive: KeepaliveRules = field(default_factory=KeepaliveRules)
