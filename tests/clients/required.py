"""Compare an answer with the model that a client makes of it: every field that it requires, at any depth."""

from __future__ import annotations

import typing
from typing import Any, Literal, Union

import pydantic


def differences(annotation: Any, value: Any, path: str) -> list[str]:
    """Name all that is missing or of another kind; `annotation` is a type as the client's models use it."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return differences(arguments[0], value, path)
    if origin is Literal:
        return [] if value in arguments else [f"{path}: {value!r} is none of {arguments}"]
    if origin is Union or str(origin) == "<class 'types.UnionType'>":
        return min((differences(branch, value, path) for branch in arguments), key=len)
    if origin is list:
        if not isinstance(value, list):
            return [f"{path}: no list"]
        return [found for n, item in enumerate(value) for found in differences(arguments[0], item, f"{path}[{n}]")]
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return _fields(annotation, value, path)
    return _plain(annotation, value, path)


def _fields(model: type[pydantic.BaseModel], value: Any, path: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{path}: no object"]
    found = []
    for name, field in model.model_fields.items():
        key = field.alias or name
        if key in value:
            found += differences(field.annotation, value[key], f"{path}.{key}")
        elif field.is_required():
            found.append(f"{path}.{key}: missing")
    return found


def _plain(annotation: Any, value: Any, path: str) -> list[str]:
    try:
        pydantic.TypeAdapter(annotation).validate_python(value, strict=True)
    except pydantic.ValidationError as error:
        return [f"{path}: {error.errors()[0]['msg']}"]
    return []
