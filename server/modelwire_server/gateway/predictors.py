"""What predictors take and answer, as REST clients write it: any JSON, with integers of any size."""

from starlette.responses import Response

from .answers import answer_of
from .exchange import Exchange
from .parsing import InvalidRequest
from .rendering import to_json


async def with_payload(exchange: Exchange) -> Response:
    """Predicts or scores."""
    request = await exchange.message(without=("data",))
    if "data" in exchange.body:
        request.data_json = to_json(exchange.body["data"]).decode()
    elif not request.data_json:
        # Null is a payload, nothing is none.
        raise InvalidRequest([{"type": "missing", "loc": ["body", "data"], "msg": "Field required", "input": exchange.body}])
    return await answer_of(exchange, await exchange.call(exchange.rpc, request))
