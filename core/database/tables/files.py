"""Uploads and published files."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from core.database.tables.base import Json, Table, new_id, partial_index


class File(Table):
    """An upload, or a result that a job has published as a file."""

    __tablename__ = "file"
    __table_args__ = (
        Index("ix_file_account_id_created_at", "account_id", "created_at", "id"),
        partial_index(
            "ix_file_expiring", "expires_at", "account_id", where="expires_at IS NOT NULL AND deleted_at IS NULL"
        ),
    )
    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("file-"))
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"))
    filename: Mapped[str]
    purpose: Mapped[str]
    bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    storage_key: Mapped[str] = mapped_column(Text)
    status: Mapped[str]
    status_details: Mapped[str | None] = mapped_column(Text)
    kind: Mapped[str | None]
    items: Mapped[int] = mapped_column(default=0)
    findings: Mapped[list[Json]] = mapped_column(default=list)
    profile: Mapped[Json | None] = mapped_column(
        deferred=True
    )  # of core.findings.profiles; lists of files do without it
    created_at: Mapped[float]
    expires_at: Mapped[float | None]
    deleted_at: Mapped[float | None]
    job_id: Mapped[str | None] = mapped_column(index=True)
