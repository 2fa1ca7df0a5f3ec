"""From backbones and finished jobs to the models on the wire."""

from collections.abc import Sequence

from api.schemas.models import ModelBat, ModelObject
from core.backbones.record import BackboneRecord
from core.database.tables import Adapter


def backbone_object(record: BackboneRecord, aliases: list[str]) -> ModelObject:
    """Show a backbone that jobs may name, by its id or one of its aliases."""
    bat = ModelBat(kind="backbone", family=record.family, licence=record.licence, aliases=aliases)
    return ModelObject(id=record.id, created=0, owned_by="albatross", bat=bat)


def adapter_object(adapter: Adapter, formats: Sequence[str]) -> ModelObject:
    """Show a finished adapter with the formats that it can be downloaded in."""
    bat = ModelBat(
        kind="adapter",
        backbone=adapter.backbone,
        job_id=adapter.job_id,
        published_step=adapter.published_step,
        formats=list(formats),
    )
    return ModelObject(id=adapter.id, created=int(adapter.created_at), owned_by=adapter.account_id, bat=bat)
