"""The items of an upload, and new captions for them, as they go over the wire."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field, model_validator

from core.parameters.request import Request
from core.runtime.complaints import Written

Sha256 = Annotated[str, Written(r"^[0-9a-f]{64}$", "64 of 0-9 a-f")]
KNOWN = "of the file as you know it: where it has changed since, the call is refused"
Caption = Annotated[str, Field(max_length=20_000)]


class CaptionChange(Request):
    """Another caption for one item, named by its id or its file name; null or "" takes the caption away."""

    telling_nulls: ClassVar[frozenset[str]] = frozenset({"caption"})

    id: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    filename: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    caption: Caption | None

    @model_validator(mode="after")
    def _one_name(self) -> "CaptionChange":
        if (self.id is None) == (self.filename is None):
            raise ValueError("name the image by id or by filename")
        return self


class CaptionsRequest(Request):
    """The body of POST /v1/files/{file_id}/items."""

    items: Annotated[list[CaptionChange], Field(min_length=1, max_length=1000)]
    sha256: Sha256 | None = Field(None, description=KNOWN)


class TextChange(Request):
    """The body of PUT /v1/files/{file_id}/items/{item_id} of a text: what shall stand there, as in a line of JSONL."""

    messages: Annotated[list[dict[str, Any]], Field(min_length=1)] | None = None
    tools: list[dict[str, Any]] | None = None
    prompt: str | None = None
    completion: str | None = None
    text: str | None = None
    sha256: Sha256 | None = Field(None, description=KNOWN)

    @model_validator(mode="after")
    def _one_shape(self) -> "TextChange":
        pair = self.prompt is not None and self.completion is not None
        if [self.messages is not None, self.text is not None, pair].count(True) != 1:
            raise ValueError("send messages, or text, or prompt with completion")
        return self

    def row(self) -> dict[str, Any]:
        """Return it as a line of JSONL holds it."""
        return self.model_dump(exclude={"sha256"}, exclude_none=True)


class TurnObject(BaseModel):
    """What one side says in a conversation: plain text, with calls of functions in words."""

    role: str
    content: str
    cut: bool
    learned: bool


class ItemObject(BaseModel):
    """One image or text of an upload."""

    id: str
    object: Literal["file.item"] = "file.item"
    index: int
    kind: Literal["image", "text"]
    filename: str | None
    caption: str | None
    text: str | None
    characters: int | None
    cut: bool | None
    messages: list[TurnObject] | None
    width: int | None
    height: int | None
    thumbnail: str | None
    findings: list[dict[str, Any]]
