"""Configs as REST clients write them: what was sent comes back, integers of any size too."""

from starlette.responses import Response

from ..services.values import has_large_integers
from .answers import answer_of
from .exchange import Exchange
from .rendering import to_json


async def write(exchange: Exchange) -> Response:
    """Stores or changes a config."""
    request = await exchange.message()
    data = exchange.body.get("data")
    if has_large_integers(data):
        request.data_json = to_json(data).decode()
    return await answer_of(exchange, await exchange.call(exchange.rpc, request))
