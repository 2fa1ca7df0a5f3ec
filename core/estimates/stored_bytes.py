"""How many bytes a job will probably store: what the last jobs of its backbone have stored."""

from __future__ import annotations

import math
from statistics import median

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.backbones.record import BackboneRecord
from core.database.tables import Measurement
from core.estimates.estimator import weights_bytes
from core.parameters.request import BatRequest

LOOKED_AT = 5  # the newest jobs, whosever; this is asked for each new one


def expected(session: Session, record: BackboneRecord, request: BatRequest, unknown: int) -> int:
    """Return what a job of the backbone has stored lately, scaled to the rank asked for; `unknown` where none told.

    The middle one counts: what one account's job has stored must not keep out another's. Merged weights come on top:
    they are as large as the backbone.
    """
    mine = (Measurement.backbone == record.id) & (Measurement.revision == record.measured_as)
    newest = select(Measurement.data).where(mine, Measurement.source == "job")
    rows = session.scalars(newest.order_by(Measurement.created_at.desc(), Measurement.id).limit(LOOKED_AT)).all()
    rank = request.rank if isinstance(request.rank, int) else 0
    told = [
        row["bytes"]["stored"] * ((rank or row["shape"]["rank"]) / row["shape"]["rank"])
        for row in rows
        if row["bytes"].get("stored") and row["shape"].get("rank")
    ]
    merged = (weights_bytes(record) or 0) if request.merged else 0
    return math.ceil(median(told) if told else unknown) + merged
