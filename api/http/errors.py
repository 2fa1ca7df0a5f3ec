"""Answer every failure with OpenAI's error envelope and the right status; routes only raise."""

import errno
import logging
import re
from collections.abc import Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import cast

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import compile_path
from starlette.types import Scope

from core.database import faults
from core.errors import (
    AlbatrossError,
    BodyTooLarge,
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    QuotaExceeded,
    RateLimited,
    RetryLater,
    TransientFailure,
    Unauthenticated,
    Unavailable,
    UnsupportedBody,
)
from core.parameters.known_names import meant
from core.runtime.complaints import Complaint, complaints

log = logging.getLogger("albatross.api")
CREATE_JOB_PATH = "/v1/fine_tuning/jobs"

# The first class that fits decides, so subclasses stand before their parents. What was read and can't be used is 400,
# whatever is wrong with it: scripts look for openai.BadRequestError there.
STATUS: Mapping[type[AlbatrossError], int] = {
    BodyTooLarge: 413,
    UnsupportedBody: 415,
    InvalidInput: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    RateLimited: 429,
    Unavailable: 503,
    TransientFailure: 503,
    AlbatrossError: 500,
}
TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
RETRY_SECONDS = 5.0
DISK_FULL_RETRY_SECONDS = 60.0
MAX_PROBLEMS = 5  # named in one message
DISK_FULL_CODES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# addresses of OpenAI's API that are not served here, or not there
AZURE_PATH = re.compile(r"(/v1)?/openai(/|$)")
LEGACY_JOBS_PATH = re.compile(r"(/v1)?/(fine-tunes|fine_tunes|fine-tuning)(/|$)")
DOUBLED_VERSION = re.compile(r"/v1/+v1(/|$)")
PATH_WITHOUT_VERSION = re.compile(r"/(files|fine_tuning|models)(/|$)")
JOBS_PATH_CUT_SHORT = re.compile(r"/v1/fine_tuning/?")
INFERENCE_PATH = re.compile(r"/v1/(chat/|completions|responses|embeddings|images|audio|assistants|threads|batches)")
UPLOAD_IN_PARTS_PATH = re.compile(r"/v1/uploads(/|$)")


def install(app: FastAPI) -> None:
    """Register the handlers of all that is foreseen; `unexpected` answers the rest."""
    app.exception_handler(AlbatrossError)(_answer_error)
    app.exception_handler(RequestValidationError)(_answer_invalid_query)
    app.exception_handler(HTTPException)(_answer_http_error)
    app.exception_handler(ClientDisconnect)(_answer_client_gone)
    app.exception_handler(PoolTimeout)(_answer_database_error)
    app.exception_handler(DBAPIError)(_answer_database_error)
    app.exception_handler(OSError)(_answer_disk_error)


def envelope(
    status: int, message: str, code: str | None, param: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """Build `{"error": {message, type, param, code}}`."""
    kind = TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return JSONResponse(body, status, dict(headers or {}))


def invalid(error: ValidationError, model: type[BaseModel]) -> InvalidInput:
    """Turn pydantic's complaints into one InvalidInput that names the fields and never repeats their values."""
    return _invalid_input(complaints(error.errors(include_url=False), model, partial(meant, model)))


def _invalid_input(found: Sequence[Complaint]) -> InvalidInput:
    shown = found[:MAX_PROBLEMS]
    text = "; ".join(f"{one.path}: {one.sentence}" if one.path else f"the body {one.sentence}" for one in shown)
    more = f" (and {len(found) - len(shown)} more)" if len(found) > len(shown) else ""
    message = f"{text}{more}."
    message = message[:1].upper() + message[1:] if not shown[0].path else message
    return InvalidInput(message, code="invalid_parameter", param=shown[0].param or None)


def _answer_error(request: Request, error: AlbatrossError) -> Response:
    status = next(status for kind, status in STATUS.items() if isinstance(error, kind))
    headers = {}
    if status in (429, 503):
        seconds = error.retry_after if isinstance(error, RetryLater) else RETRY_SECONDS
        headers["Retry-After"] = str(max(1, round(seconds)))
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    # clients retry by themselves: most of these would only fail again, and a create call that says that it is a
    # repetition would get an older job that was ordered with the same words
    creates = request.method == "POST" and request.url.path == CREATE_JOB_PATH
    if status == 409 or isinstance(error, QuotaExceeded) or (status == 429 and creates):
        headers["x-should-retry"] = "false"
    if status >= 500:
        log.warning("answered %d: %s", status, error.code)
    return envelope(status, error.message, error.code, error.param, headers)


def _answer_invalid_query(request: Request, error: RequestValidationError) -> Response:
    found = [{**problem, "loc": problem["loc"][1:2]} for problem in error.errors()]  # the first says query or header
    return _answer_error(request, _invalid_input(complaints(cast(list[ErrorDetails], found))))


def _answer_http_error(request: Request, error: HTTPException) -> Response:
    messages = {404: advice_on_path(request.url.path), 405: "This address does not take this method; see /docs."}
    phrase = HTTPStatus(error.status_code).phrase
    message = messages.get(error.status_code, error.detail or phrase)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(sorted(_methods(request) | set(re.findall(r"\w+", headers.get("Allow", "")))))
    return envelope(error.status_code, message, phrase.lower().replace(" ", "_"), headers=headers)


def _methods(request: Request) -> set[str]:
    """Return the methods of this address, as far as the document has it; the framework names only the first route's."""
    paths = request.app.openapi()["paths"].items()
    fitting = [methods for pattern, methods in paths if compile_path(pattern)[0].match(request.url.path)]
    return {method.upper() for methods in fitting for method in methods}


def _answer_client_gone(request: Request, error: ClientDisconnect) -> Response:
    return envelope(400, "The request ended before its body was complete.", "incomplete_request")


def _answer_database_error(request: Request, error: Exception) -> Response:
    if isinstance(error, DataError):  # a null character in a query, for one: not every text can be searched for
        log.warning("a value that the database cannot hold")
        return envelope(400, "A value in the request cannot be stored or searched for.", "invalid_parameter")
    if isinstance(error, DBAPIError) and not faults.away(error):
        return unexpected(request.scope, error)
    if isinstance(error, DBAPIError) and faults.disk_full(error):
        return _answer_disk_full(request)
    log.warning("the database does not answer: %s", type(error).__name__)
    away = Unavailable(
        "The database is busy or away; try again.", code="database_unavailable", retry_after=RETRY_SECONDS
    )
    return _answer_error(request, away)


def _answer_disk_error(request: Request, error: OSError) -> Response:
    if error.errno not in DISK_FULL_CODES:
        return unexpected(request.scope, error)
    return _answer_disk_full(request)


def _answer_disk_full(request: Request) -> Response:
    full = Unavailable("The disk is full; try again later.", code="disk_full", retry_after=DISK_FULL_RETRY_SECONDS)
    return _answer_error(request, full)


def unexpected(scope: Scope, error: Exception) -> Response:
    """Log what nobody foresaw and say nothing of it."""
    number = scope.get("request_id", "")
    log.error("a request failed", exc_info=error)
    return envelope(500, f"Something went wrong on our side; tell the operator request {number}.", "internal_error")


def advice_on_path(path: str) -> str:
    """Say what to do about an address that is not there."""
    if AZURE_PATH.match(path):
        return (
            "This is an address of Azure OpenAI. Files are at /v1/files here and jobs at /v1/fine_tuning/jobs: use the "
            "client OpenAI instead of AzureOpenAI, with a base_url that ends in /v1."
        )
    if LEGACY_JOBS_PATH.match(path):
        return (
            f"Jobs are at {CREATE_JOB_PATH}, as in today's API of OpenAI; there n_epochs and the like stand in "
            "hyperparameters."
        )
    if DOUBLED_VERSION.match(path):
        return "This address holds /v1 twice: the client's base_url ends in one /v1, and paths begin behind it."
    if PATH_WITHOUT_VERSION.match(path):
        return "Addresses begin with /v1: end the client's base_url in /v1."
    if JOBS_PATH_CUT_SHORT.fullmatch(path):
        return f"Jobs are at {CREATE_JOB_PATH}."
    if INFERENCE_PATH.match(path):
        return (
            "This service trains adapters and does not run them: fetch the adapter from "
            "/v1/models/{id}/download and load it where you run models; see docs/using-your-adapter.md."
        )
    if UPLOAD_IN_PARTS_PATH.match(path):
        return "Uploads in parts are not taken: send the whole file to POST /v1/files."
    if path.startswith("/v1/") and path.endswith("/"):
        return "There is nothing at this address; addresses end without a slash. See /docs for what there is."
    return "There is nothing at this address; see /docs for what there is."
