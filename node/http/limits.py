"""What the HTTP port bears, by default and as an operator sets it: `[http_limits]` in node.toml.

Loopback is bound by `connections` alone: behind a proxy on the same host everybody comes from
there, and the proxy has limits of its own.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from node.protocol.settings import Settings


class HttpLimits(Settings):
    """Connections in all and from one address, and the requests of one address.

    `requests_per_second` 0 lets everybody ask without end; `burst` may come at once.
    """

    connections: Annotated[int, Field(ge=1, le=65_536)] = 1_000
    connections_per_address: Annotated[int, Field(ge=1, le=65_536)] = 100
    requests_per_second: Annotated[int, Field(ge=0, le=1_000_000)] = 100
    burst: Annotated[int, Field(ge=1, le=1_000_000)] = 400
