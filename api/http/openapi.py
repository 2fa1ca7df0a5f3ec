"""What the OpenAPI document says beyond what FastAPI finds by itself."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.schemas.items import CaptionsRequest, TextChange
from api.schemas.jobs import JobUpdate
from api.schemas.shared import Error
from api.schemas.start import StartRequest
from api.schemas.webhooks import RotateRequest, SampleRequest, WebhookRequest, WebhookUpdate
from core.parameters.request import JobRequest

BODY_MODELS = (
    *(JobRequest, JobUpdate, CaptionsRequest, TextChange, StartRequest),
    *(WebhookRequest, WebhookUpdate, RotateRequest, SampleRequest),
)
WAITING = {"4XX": "with 429: seconds until it helps to ask again", "503": "seconds until it helps to ask again"}
REFERENCE = "#/components/schemas/{model}"


def body_of(model: type[BaseModel], form: dict[str, Any] | None = None) -> dict[str, Any]:
    """Describe the body of a route that reads it on its own; `model` is one of BODY_MODELS, `form` the other choice."""
    content = {"application/json": {"schema": {"$ref": REFERENCE.format(model=model.__name__)}}}
    if form is not None:
        content["multipart/form-data"] = {"schema": form}
    return {"requestBody": {"content": content, "required": True}}


def describe(app: FastAPI) -> None:
    """Put into /docs what routes do not say of themselves: bodies that they read on their own, errors, headers."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            schemas: dict[str, Any] = document["components"]["schemas"]
            models = [*((model, "validation") for model in BODY_MODELS), (Error, "serialization")]
            schemas.update(models_json_schema(models, ref_template=REFERENCE)[1]["$defs"])  # type: ignore[arg-type]
            del schemas["HTTPValidationError"], schemas["ValidationError"]
            for operation in (operation for path in document["paths"].values() for operation in path.values()):
                _describe_answers(operation["responses"])
                operation.get("requestBody", {})["required"] = True
            _list_constants(document)
            ready = document["paths"]["/readyz"]["get"]["responses"]
            ready["503"]["content"] = ready["200"]["content"]
        return generate()

    app.openapi = openapi  # type: ignore[method-assign]


def _list_constants(part: Any) -> None:
    """Write a constant among several choices as a list of one: generators of clients take it for the only choice."""
    for choice in part.get("anyOf", ()) if isinstance(part, dict) else ():
        if "const" in choice:
            choice["enum"] = [choice.pop("const")]
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        _list_constants(inner)


def _describe_answers(answers: dict[str, Any]) -> None:
    answers.pop("422", None)
    answers["200"].setdefault(
        "content", {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    )
    error = {"application/json": {"schema": {"$ref": REFERENCE.format(model="Error")}}}
    answers["4XX"] = {"description": "The request cannot be served as it is", "content": error}
    answers["503"] = {"description": "A part of the service is away or full: try again", "content": error}
    for status, answer in answers.items():
        answer["headers"] = {"x-request-id": {"schema": {"type": "string"}, "required": True}}
        if status in WAITING:
            answer["headers"]["Retry-After"] = {"schema": {"type": "integer"}, "description": WAITING[status]}
