"""The layout of keys in the store."""

from __future__ import annotations


def account_prefix(account_id: str) -> str:
    """Prefix of everything that an account stores."""
    return f"accounts/{account_id}"


def files_prefix(account_id: str) -> str:
    """Prefix of an account's uploads."""
    return f"accounts/{account_id}/files"


def file_key(account_id: str, file_id: str) -> str:
    """Key of an upload."""
    return f"{files_prefix(account_id)}/{file_id}"


def edits_prefix(account_id: str, file_id: str) -> str:
    """Prefix of the versions of an upload that edits have made; one of them, or none, is the present one."""
    return f"accounts/{account_id}/edits/{file_id}"


def job_prefix(account_id: str, job_id: str) -> str:
    """Prefix of everything that a job stores."""
    return f"accounts/{account_id}/jobs/{job_id}/"


def job_key(account_id: str, job_id: str, attempt: int, name: str) -> str:
    """Key of a file that a job writes; the attempt keeps a late writer from overwriting its successor's."""
    return f"{job_prefix(account_id, job_id)}e{attempt}/{name}"
