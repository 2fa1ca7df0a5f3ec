"""The picture that stands for a job in a list: small enough to be in the answer, and found without opening a file."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.database.tables import File, Job

COVER = "cover"  # in a job's outcome, where its trainer has drawn one, and in the profile of an upload of pictures
SHOWN = re.compile(r"data:image/(?:png|jpeg);base64,[A-Za-z0-9+/]{1,24000}={0,2}")


def covers(session: Session, jobs: Sequence[Job]) -> dict[str, str | None]:
    """Return the newest sample of each job, else its first reference, in a query for all; None of texts."""
    drawn = {job.id: shown((job.outcome or {}).get(COVER)) for job in jobs}
    rest = {job.id: job.training_files[0] for job in jobs if drawn[job.id] is None}
    if not rest:
        return drawn
    mine = File.id.in_(set(rest.values())) & File.deleted_at.is_(None)
    rows = session.execute(select(File.id, File.profile[COVER].as_string()).where(mine, File.kind == "images"))
    given = {file_id: shown(cover) for file_id, cover in rows}
    return drawn | {job_id: given.get(file_id) for job_id, file_id in rest.items()}


def shown(cover: object) -> str | None:
    """Return a picture that may be shown; whoever has made it works on what strangers send."""
    return cover if isinstance(cover, str) and SHOWN.fullmatch(cover) else None


def without(outcome: Mapping[str, Any]) -> dict[str, Any]:
    """Return an outcome without its picture."""
    return {name: value for name, value in outcome.items() if name != COVER}
