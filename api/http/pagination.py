"""Pages of lists: a total order, a cursor that is the id of the last row seen, and always `has_more`."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from api.schemas.shared import Page
from core.errors import InvalidInput

R = TypeVar("R")
T = TypeVar("T")
Column = ColumnElement[Any] | InstrumentedAttribute[Any]


def rows_after(
    session: Session,
    statement: Select[R],
    order: Sequence[Column],
    *,
    last: Sequence[object] | None,
    limit: int,
    descending: bool,
) -> tuple[list[R], bool]:
    """Return up to `limit` rows that follow the row whose `order` values are `last`, and whether more follow them."""
    if last is not None:
        here, there = tuple_(*order), tuple_(*last)
        statement = statement.where(here < there if descending else here > there)
    directions = [column.desc() if descending else column.asc() for column in order]
    rows = session.scalars(statement.order_by(*directions).limit(limit + 1)).all()
    return list(rows[:limit]), len(rows) > limit


def slice_after(rows: Sequence[dict[str, Any]], after: str | None, limit: int) -> tuple[list[dict[str, Any]], bool]:
    """Do the same for rows of a stored file that carry their `id`."""
    start = 0
    if after is not None:
        start = next((index + 1 for index, row in enumerate(rows) if row["id"] == after), -1)
        if start < 0:
            raise unknown_cursor()
    return list(rows[start : start + limit]), len(rows) > start + limit


def page(objects: Iterable[T], has_more: bool, identify: str = "id") -> Page[T]:
    """Wrap the objects of one page."""
    data = list(objects)
    ids = [str(getattr(item, identify)) for item in (data[:1] + data[-1:])]
    return Page(data=data, has_more=has_more, first_id=ids[0] if ids else None, last_id=ids[-1] if ids else None)


def unknown_cursor() -> InvalidInput:
    """The cursor is not the id of a row in this list."""
    return InvalidInput("`after` is not the id of an item in this list.", code="invalid_cursor", param="after")


def plausible(identifier: str) -> bool:
    """Say whether a database can be asked for this identifier at all."""
    return re.fullmatch(r"[\x21-\x7e]{1,255}", identifier) is not None
