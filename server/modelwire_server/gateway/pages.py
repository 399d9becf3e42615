"""The OpenAPI document for people: Swagger UI at /docs, Redoc at /redoc. Their files come from this installation; no other host is
asked for anything, so that the pages work without internet."""

import html
from importlib.util import find_spec
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from .calls import Calls
from .exchange import JSON
from .openapi.document import live_document, title
from .rendering import to_json

# A package that carries the files of both; it is found, not imported.
CARRIER = "fastapi_offline"

SWAGGER_UI = """\
window.ui = SwaggerUIBundle({
  url: "openapi.json", dom_id: "#page", deepLinking: true, displayRequestDuration: true, validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis], defaultModelsExpandDepth: 0,
});
"""
REDOC = """\
Redoc.init("openapi.json", {expandResponses: "200,201,202", hideDownloadButtons: false}, document.getElementById("page"));
"""
# Redoc shows a logo from its makers' host, which is not asked.
STYLE = """\
body { margin: 0; }
img[src^="https:"] { display: none; }
"""

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
{styles}
</head>
<body>
<div id="page"></div>
<script src="docs/assets/{library}"></script>
<script src="docs/{start}"></script>
</body>
</html>
"""

# Both write styles into the page, and Redoc searches in a worker.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
    "connect-src 'self'; worker-src blob:; base-uri 'none'; frame-ancestors 'self'"
)


def pages(calls: Calls, *, extra_fields: bool = False) -> list[BaseRoute]:
    """GET /openapi.json, /docs and /redoc, and what these load. All addresses in the pages are relative, for proxies."""

    async def openapi(request: Request) -> Response:
        return Response(to_json(await live_document(calls, extra_fields=extra_fields)), media_type=JSON)

    async def swagger_ui(request: Request) -> Response:
        return _page(await title(calls), library="swagger-ui-bundle.js", start="swagger-ui.js", styles=("assets/swagger-ui.css",))

    async def redoc(request: Request) -> Response:
        return _page(await title(calls), library="redoc.standalone.js", start="redoc.js", styles=())

    return [
        Route("/openapi.json", openapi, methods=["GET"]),
        Route("/docs", swagger_ui, methods=["GET"]),
        Route("/redoc", redoc, methods=["GET"]),
        _text("/docs/swagger-ui.js", SWAGGER_UI, "text/javascript"),
        _text("/docs/redoc.js", REDOC, "text/javascript"),
        _text("/docs/page.css", STYLE, "text/css"),
        Mount("/docs/assets", StaticFiles(directory=_assets())),
    ]


def _assets() -> Path:
    found = find_spec(CARRIER)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "static"


def _page(title: str, *, library: str, start: str, styles: tuple[str, ...]) -> Response:
    links = [f'<link rel="stylesheet" href="docs/{name}">' for name in (*styles, "page.css")]
    page = PAGE.format(title=html.escape(title), library=library, start=start, styles="\n".join(links))
    return HTMLResponse(page, headers={"Content-Security-Policy": POLICY})


def _text(path: str, text: str, media_type: str) -> Route:
    async def endpoint(request: Request) -> Response:
        return Response(text, media_type=media_type)

    return Route(path, endpoint, methods=["GET"])
