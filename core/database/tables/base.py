"""What every table shares: identifiers, types, names of constraints."""

from __future__ import annotations

import base64
import secrets
from typing import Any

from sqlalchemy import JSON, Double, Index, MetaData, String, text
from sqlalchemy.orm import DeclarativeBase

Json = dict[str, Any]


def new_id(prefix: str) -> str:
    """A fresh identifier: the prefix and 24 random letters and digits (120 bits)."""
    return prefix + base64.b32encode(secrets.token_bytes(15)).decode().lower()


def partial_index(name: str, *columns: str, where: str) -> Index:
    """An index of the rows that fulfil a condition; a query has to name it."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


class Table(DeclarativeBase):
    """Base of the tables; named constraints, so that migrations can name them on every database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    # SQLAlchemy would otherwise write None as the JSON text "null"
    type_annotation_map = {  # noqa: RUF012
        float: Double(),
        str: String(255),
        Json: JSON(none_as_null=True),
        list[str]: JSON(none_as_null=True),
        list[Json]: JSON(none_as_null=True),
    }
