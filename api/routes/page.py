"""The web page: one document at every address of it, and the files that this one loads. It asks the API for the rest.

No key is needed, for nothing here is anybody's; the addresses stand outside of the API's document.
"""

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.dependencies import ServicesDep
from core.errors import NotFound

router = APIRouter(include_in_schema=False)
DOCUMENT, DOCS = "index.html", "docs/index.html"
READS = ["GET", "HEAD"]


@router.api_route("/", methods=READS)
@router.api_route("/new", methods=READS)
@router.api_route("/adapters/{rest:path}", methods=READS)
@router.api_route("/settings", methods=READS)
@router.api_route("/settings/{rest:path}", methods=READS)
async def page_document(request: Request, services: ServicesDep) -> Response:
    """Send the page, which finds its way from the address."""
    return _file(DOCUMENT, request, services)


@router.api_route("/docs", methods=READS)
async def docs_document(request: Request, services: ServicesDep) -> Response:
    """Send the reader of the API's document: the calls as a person reads them, without any other host."""
    return _file(DOCS, request, services)


@router.api_route("/page/{path:path}", methods=READS)
async def page_file(path: str, request: Request, services: ServicesDep) -> Response:
    """Send what the page is made of."""
    return _file(path, request, services)


def _file(path: str, request: Request, services: ServicesDep) -> Response:
    file = services.page.get(path)
    if file is None:
        raise NotFound("The page has no such file; it begins at /.", code="not_found")
    return file.answer(request)
