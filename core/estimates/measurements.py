"""What jobs have taken on which device: the rows that estimates rest on. They say nothing of whose job it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from core.database.engine import now
from core.database.tables import Measurement
from core.estimates.sizes import DataSize, JobSize, Steps
from core.parameters.schedule import STAGES

Source = Literal["calibration", "job"]
KEPT = 40  # rows of one backbone on one device
LOOKED_AT = 12  # the newest: machines change


Figure = Annotated[float, Field(ge=0, le=1e15)]
Word = Annotated[str, Field(max_length=40)]


class Told(BaseModel):
    """What a trainer may say; it works on what strangers send, so that its word is checked."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class KindTold(Told):
    """Work of one kind in one stage."""

    calls: Figure
    units: Figure
    seconds: Figure
    cpu: Figure


class MemoryTold(Told):
    """Peaks in bytes."""

    host: Figure | None
    device: Figure | None


class StageTold(Told):
    """What one stage has taken."""

    seconds: Figure
    cpu: Figure
    kinds: Annotated[dict[Word, KindTold], Field(max_length=20)]
    facts: Annotated[dict[Word, Figure | Annotated[list[Figure], Field(max_length=50)]], Field(max_length=20)]
    memory: MemoryTold


@dataclass(frozen=True)
class Measured:
    """One finished job, or one run of `albatross calibrate`."""

    source: Source
    device: str
    shape: JobSize
    total: float  # seconds from the claim to the end
    work: Mapping[str, Mapping[str, Any]]  # of every stage, as worker.stages.costs reports it
    # of results: `sized` grow with the rank, `fixed` do not; `kept` of so many `copies`; `stored` is all of the job's
    bytes: Mapping[str, int]
    characters: int = 0  # of all references together
    exchanges: int = 0  # that a chat template frames in them

    @property
    def complete(self) -> bool:
        """Tell whether every stage was measured, from its beginning to its end."""
        return all(self.work.get(stage) for stage in STAGES)

    def with_stored(self, count: int) -> Measured:
        """Return the same with the bytes of all that the job has stored."""
        return replace(self, bytes={**self.bytes, "stored": count})

    def check(self) -> None:
        """Raise ValueError where the trainer's word is not what it should be."""
        for told in self.work.values():
            StageTold.model_validate(told)
        if "references" not in self.facts:
            raise ValueError("nothing is said of the references")

    @property
    def seconds(self) -> dict[str, float]:
        """Return the seconds of every stage; what passes around them, starting the trainer above all, is preparing.

        Left out are those in which the backbone made samples of its own, once for all jobs.
        """
        own = {stage: float(self.work[stage]["seconds"]) for stage in STAGES}
        making = float(self.facts.get("making_seconds", 0.0))
        return own | {"prepare": own["prepare"] + max(0.0, self.total - making - sum(own.values()))}

    @property
    def warm(self) -> bool:
        """Tell whether the trainer had the backbone loaded already."""
        return not any("load" in self.work[stage]["kinds"] for stage in STAGES)

    @property
    def slowed(self) -> float:
        """Return by how much other processes slowed the work on a CPU, at least: seconds for each CPU second."""
        if class_of(self.device) != "cpu":
            return 1.0
        seconds, cpu = (sum(float(self.work[stage][name]) for stage in STAGES) for name in ("seconds", "cpu"))
        return max(1.0, seconds / cpu) if cpu else 1.0

    @property
    def steps(self) -> Steps:
        """Return the optimizer steps that were made, and whether scoring ended after its first part."""
        made = {stage: self.work[stage]["kinds"].get("step", {}).get("calls", 0) for stage in STAGES}
        told = self.work["score"].get("facts", {})
        left_out = told.get("scored", 0) < told.get("sampled", 0)
        return Steps(made["surrogate"], made["trial"], made["train"], float(left_out))

    @property
    def facts(self) -> Mapping[str, Any]:
        """Return what preparing has found out about the data."""
        found: Mapping[str, Any] = self.work["prepare"]["facts"]
        return found

    @property
    def data(self) -> DataSize:
        """Return how much there was to learn from."""
        facts = self.facts
        return DataSize(
            facts["references"],
            facts.get("candidates", 0),
            facts.get("probe", 0),
            facts.get("validation", 0),
            tuple(facts.get("references_lengths", ())),
            tuple(facts.get("candidates_lengths", facts.get("own_lengths", ()))),
        )


def add(session: Session, backbone: str, revision: str, measured: Measured) -> None:
    """Keep a measurement, and no more than `KEPT` of its kind."""
    content = asdict(measured)
    source, device = content.pop("source"), content.pop("device")
    row = Measurement(
        backbone=backbone, revision=revision, device=device, source=source, data=content, created_at=now(session)
    )
    session.add(row)
    session.flush()
    mine = (Measurement.backbone == backbone) & (Measurement.device == device)
    kept = select(Measurement.id).where(mine).order_by(*_NEWEST).limit(KEPT)
    session.execute(delete(Measurement).where(mine, Measurement.id.not_in(session.scalars(kept).all())))


def measured(session: Session) -> set[tuple[str, str]]:
    """Return the backbones, each with its revision, that a job or a calibration of this service was measured on."""
    found = session.execute(select(Measurement.backbone, Measurement.revision).distinct())
    return {(backbone, revision) for backbone, revision in found}


def recent(session: Session, backbone: str, revision: str, device: str | None) -> list[Measured]:
    """Return the newest measurements of a backbone on the device, else on any other of its class; newest first."""
    statement = select(Measurement).where(Measurement.backbone == backbone, Measurement.revision == revision)
    rows = session.scalars(statement.order_by(*_NEWEST).limit(4 * KEPT)).all()
    same = [row for row in rows if row.device == device]
    if not same:
        wanted = class_of(device) if device else None
        alike = [row for row in rows if wanted in (None, class_of(row.device))]
        same = [row for row in alike if row.device == alike[0].device]
    return [one for row in same[:LOOKED_AT] if (one := _measured(row)) is not None]


def newest(session: Session, backbone: str, revision: str) -> str | None:
    """Return the id of the newest measurement of a backbone."""
    statement = select(Measurement.id).where(Measurement.backbone == backbone, Measurement.revision == revision)
    return session.scalar(statement.order_by(*_NEWEST).limit(1))


def class_of(device: str) -> str:
    """Return cpu or cuda, with which the name of a device begins."""
    return device.partition(":")[0]


def tokens_per_character(rows: Sequence[Measured]) -> float | None:
    """Return how many tokens the backbone makes of a character, None where no text was measured.

    Of texts that were cut those count which they had before.
    """
    told = [row for row in rows if row.characters and "references_tokens" in row.facts]
    framed = chat_tokens(rows)
    whole = [row.facts.get("references_whole", row.facts["references_tokens"]) for row in told]
    found = [(tokens - framed * row.exchanges) / row.characters for tokens, row in zip(whole, told, strict=True)]
    return max(0.0, median(found)) or None if found else None


def chat_tokens(rows: Sequence[Measured]) -> float:
    """Return how many tokens the backbone's chat template adds to a question and its answer."""
    return median([row.facts.get("chat_tokens", 0) for row in rows] or [0])


_NEWEST = (Measurement.created_at.desc(), Measurement.id)


def _measured(row: Measurement) -> Measured | None:
    """Return a row's measurement, None where another version wrote something else into it."""
    content = dict(row.data)
    source: Source = "job" if row.source == "job" else "calibration"
    try:
        return Measured(source=source, device=row.device, **content | {"shape": JobSize(**content["shape"])})
    except (TypeError, KeyError):
        return None
