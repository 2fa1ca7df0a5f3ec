"""Who owns things, what they have used, and what became of it: accounts, keys, usage, erasures, audit."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from core.database.tables.base import Json, Table, new_id


class Account(Table):
    """Who owns files, jobs and adapters. A limit of None is the service's default."""

    __tablename__ = "account"
    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("acct-"))
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[float]
    served_at: Mapped[float | None]  # when a worker last took one of its jobs
    erased_at: Mapped[float | None]  # from then on its keys open nothing
    bytes_limit: Mapped[int | None] = mapped_column(BigInteger)
    gpu_seconds_limit: Mapped[float | None]
    stored_bytes: Mapped[int] = mapped_column(BigInteger, default=0)  # of uploads, and of what its jobs have stored
    # how many jobs it has created in which second of the last minute, those included that are deleted again
    job_times: Mapped[Json] = mapped_column(default=dict)


class Reservation(Table):
    """Bytes that an account is about to store, set aside so that parallel calls can't take them; gone by `until`."""

    __tablename__ = "reservation"
    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("room-"))
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"), index=True)
    bytes: Mapped[int] = mapped_column(BigInteger)  # of its quota
    disk: Mapped[int] = mapped_column(BigInteger, default=0)  # that may still be written to the disk of the uploads
    until: Mapped[float] = mapped_column(index=True)


class ApiKey(Table):
    """One key of an account; only the hash of its secret is kept."""

    __tablename__ = "api_key"
    id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"), index=True)
    name: Mapped[str]
    secret_sha256: Mapped[str]
    scopes: Mapped[list[str]] = mapped_column(default=lambda: ["read", "write"])
    created_at: Mapped[float]
    expires_at: Mapped[float | None]
    revoked_at: Mapped[float | None]
    last_used_at: Mapped[float | None]


class Usage(Table):
    """GPU seconds that an attempt spent in a stage; kept when the job is erased, since it holds nothing of it."""

    __tablename__ = "usage"
    __table_args__ = (Index("ix_usage_account_id_created_at", "account_id", "created_at"),)
    job_id: Mapped[str] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column("epoch", primary_key=True, autoincrement=False)
    stage: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str]
    seconds: Mapped[float]
    created_at: Mapped[float]


class Erasure(Table):
    """Something that its owner wants gone for good, until the receipt says that it is."""

    __tablename__ = "erasure"
    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("erasure-"))
    account_id: Mapped[str] = mapped_column(index=True)
    kind: Mapped[str]  # file, job, model or account
    target: Mapped[str] = mapped_column(index=True)
    created_at: Mapped[float]  # of the thing itself: lists that are being paged through go on behind it
    requested_at: Mapped[float]
    tried_at: Mapped[float | None]
    done_at: Mapped[float | None] = mapped_column(index=True)
    objects: Mapped[int] = mapped_column(default=0)
    rows: Mapped[int] = mapped_column(default=0)
    signature: Mapped[str | None]
    looked_at: Mapped[list[Json]] = mapped_column(default=list)  # the places, and what was found and erased there


class Audit(Table):
    """Who did what and when; never with what content. Rows are only added."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_account_id_at", "account_id", "at"),)
    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("audit-"))
    at: Mapped[float]
    account_id: Mapped[str]
    key_id: Mapped[str | None]  # None: the service itself, or its operator
    action: Mapped[str]
    target: Mapped[str]
    address: Mapped[str | None]  # the first half of the caller's network address
    request_id: Mapped[str | None]
