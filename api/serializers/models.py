"""From backbones and finished jobs to the models on the wire."""

from collections.abc import Collection
from dataclasses import asdict

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from api.schemas.jobs import name_of
from api.schemas.models import ModelBat, ModelObject, PoolObject
from core.adapters import card
from core.backbones.introductions import introduction, pool_facts
from core.backbones.record import BackboneRecord
from core.database.tables import Adapter, Artifact, Job


def backbone_object(record: BackboneRecord, aliases: list[str], measured: Collection[tuple[str, str]]) -> ModelObject:
    """Show a backbone that jobs may name, by its id or one of its aliases, and whether it is among the `measured`."""
    told, pool = introduction(record), pool_facts(record)
    bat = ModelBat(
        kind="backbone",
        title=told.title,
        learns_from=record.kind,
        resolution=record.resolution if record.kind == "images" else None,
        description=told.description,
        good_for=told.good_for,
        measured_here=(record.id, record.measured_as) in measured,
        pool=PoolObject.model_validate(asdict(pool)) if pool else None,
        family=record.family,
        licence=record.licence,
        aliases=aliases,
    )
    return ModelObject(id=record.id, created=0, owned_by="albatross", bat=bat)


def adapter_objects(session: Session, chosen: Select[Adapter]) -> list[ModelObject]:
    """Show finished adapters with the formats that each can be downloaded in: three queries, however many they are."""
    adapters = session.scalars(chosen).all()
    jobs = chosen.with_only_columns(Adapter.job_id).subquery()  # joined: so many names are more than a statement takes
    files = select(Artifact.job_id, Artifact.format).join(jobs, jobs.c.job_id == Artifact.job_id)
    formats: dict[str, list[str]] = {adapter.job_id: [] for adapter in adapters}
    for job_id, form in session.execute(files.where(Artifact.kind == "result", Artifact.format.is_not(None))):
        if form and job_id in formats:
            formats[job_id].append(form)
    told = session.execute(select(Job.id, Job.user_metadata).join(jobs, jobs.c.job_id == Job.id))
    names = {job_id: name_of(metadata) for job_id, metadata in told}
    return [
        _adapter_object(adapter, names.get(adapter.job_id), sorted(formats[adapter.job_id], key=card.order))
        for adapter in adapters
    ]


def _adapter_object(adapter: Adapter, name: str | None, formats: list[str]) -> ModelObject:
    bat = ModelBat(
        kind="adapter",
        name=name,
        learns_from="texts" if adapter.kind == "texts" else "images",
        backbone=adapter.backbone,
        job_id=adapter.job_id,
        published_step=adapter.published_step,
        formats=formats,
    )
    return ModelObject(id=adapter.id, created=int(adapter.created_at), owned_by=adapter.account_id, bat=bat)
