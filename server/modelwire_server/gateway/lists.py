"""Lists: all of it as an array, or the page that was asked for."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.responses import Response

from .answers import rendered
from .exchange import Exchange
from .methods import Method
from .parsing import InvalidRequest

LARGEST_PAGE = 100
NEXT_PAGE = "x-next-page-token"
_NATIVE_PAGE = 1000
_LARGEST_SKIP = 2**31 - 1

# Makes the JSON values of a page of the method's answer.
Items = Callable[[Exchange, Any], Awaitable[list[Any]]]


def is_list(method: Method) -> bool:
    """Whether a method lists something page by page."""
    asks = {"page_size", "page_token", "skip"} <= set(method.request.fields_by_name)
    return asks and {"next_page_token", "total_size"} <= set(method.response.fields_by_name) and bool(method.response_body)


async def plain_items(exchange: Exchange, answer: Any) -> list[Any]:
    items: list[Any] = await rendered(exchange.renderer, answer, exchange.method.response_body)
    return items


async def listing(exchange: Exchange, items: Items = plain_items) -> Response:
    """`page` and `size` together give a page with numbers. Otherwise the answer is an array: of all there is, or, if the query names
    `page_size` or `page_token`, of that many, and a header names the token of the next page."""
    request = await exchange.message()
    query = exchange.request.query_params
    page, size = _between(exchange, "page", 1, None), _between(exchange, "size", 1, LARGEST_PAGE)
    if page and size and request.page_size >= 0 and request.skip >= 0:  # otherwise it is refused as without a page
        return await _numbered(exchange, request, items, page, size)
    if "page_size" in query or "page_token" in query:
        answer = await exchange.call(exchange.rpc, request)
        headers = {NEXT_PAGE: answer.next_page_token} if answer.next_page_token else None
        return exchange.answer(await items(exchange, answer), headers=headers)
    return exchange.answer(await _everything(exchange, request, items))


async def _numbered(exchange: Exchange, request: Any, items: Items, page: int, size: int) -> Response:
    request.page_size, request.page_token = size, ""
    request.skip = min((page - 1) * size, _LARGEST_SKIP)
    answer = await exchange.call(exchange.rpc, request)
    total = answer.total_size
    shown = {"items": await items(exchange, answer), "total": total, "page": page, "size": size, "pages": -(-total // size)}
    return exchange.answer(shown)


async def _everything(exchange: Exchange, request: Any, items: Items) -> list[Any]:
    request.page_size = _NATIVE_PAGE
    found: list[Any] = []
    while True:
        answer = await exchange.call(exchange.rpc, request)
        found += await items(exchange, answer)
        if not answer.next_page_token:
            return found
        request.page_token, request.skip = answer.next_page_token, 0


def _between(exchange: Exchange, name: str, least: int, most: int | None) -> int | None:
    """A number of the query, None if it is not there."""
    text = exchange.request.query_params.get(name)
    if text is None:
        return None
    try:
        number = int(text)
    except ValueError:
        raise _wrong("int_parsing", name, "Input should be a valid integer, unable to parse string as an integer", text) from None
    if number < least:
        raise _wrong("greater_than_equal", name, f"Input should be greater than or equal to {least}", text, ge=least)
    if most is not None and number > most:
        raise _wrong("less_than_equal", name, f"Input should be less than or equal to {most}", text, le=most)
    return number


def _wrong(kind: str, name: str, text: str, value: str, **context: Any) -> InvalidRequest:
    entry = {"type": kind, "loc": ["query", name], "msg": text, "input": value}
    return InvalidRequest([entry | {"ctx": context} if context else entry])
