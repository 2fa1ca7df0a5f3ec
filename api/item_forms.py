"""Forms that bring files: which fields they may have, and what those say."""

import re
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from api.http.multipart import MAX_FIELD_BYTES, Layout
from api.schemas.items import KNOWN
from core.errors import InvalidInput

MOST_SENT = 100  # files of one call
MAX_CAPTION_BYTES = 80_000
MORE = Layout({"sha256": MAX_FIELD_BYTES, "bat[strict]": MAX_FIELD_BYTES}, most_files=MOST_SENT)
OTHER = Layout({"sha256": MAX_FIELD_BYTES, "caption": MAX_CAPTION_BYTES})
FILE = {"type": "string", "format": "binary"}
SHA256 = {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": KNOWN}
MORE_FORM: dict[str, Any] = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {**FILE, "description": f"what is added, as an upload has it; up to {MOST_SENT} fields of this name"},
        "sha256": SHA256,
        "bat[strict]": {"type": "boolean", "default": False, "description": "add nothing where an image is bad"},
    },
}
OTHER_FORM: dict[str, Any] = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {**FILE, "description": "what shall stand there: one image, or one text"},
        "caption": {"type": "string", "description": "of the image; left out, the caption that is there stays"},
        "sha256": SHA256,
    },
}


def is_form(request: Request) -> bool:
    """Tell whether a request brings a form with files."""
    return request.headers.get("content-type", "").lower().startswith("multipart/form-data")


def is_strict(fields: Mapping[str, str]) -> bool:
    """Tell whether the sender wants a set refused of which one image can't be used."""
    said = fields.get("bat[strict]", "false").lower()
    if said not in ("true", "false"):
        raise InvalidInput("bat[strict] is true or false.", code="invalid_parameter", param="bat[strict]")
    return said == "true"


def known_version(fields: Mapping[str, str]) -> str | None:
    """Return the version of the file that the sender knows."""
    sha256 = fields.get("sha256")
    if sha256 is not None and not re.fullmatch("[0-9a-f]{64}", sha256):
        raise InvalidInput("sha256 must be 64 of 0-9 a-f.", code="invalid_parameter", param="sha256")
    return sha256
