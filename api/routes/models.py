"""OpenAI's models: backbones that jobs may name, and the adapters that jobs have made."""

from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy import Select, select, tuple_
from sqlalchemy.orm import Session
from starlette.responses import Response

from api.dependencies import AccountDep, AfterDep, CallerDep, ServicesDep
from api.http import downloads
from api.http.pagination import page, plausible
from api.lookups import find_maker, no_model, place_of_erased
from api.schemas.erasures import Deleted
from api.schemas.models import ModelObject
from api.schemas.shared import Page
from api.serializers.erasures import deleted_object
from api.serializers.models import adapter_objects, backbone_object
from core.adapters import card
from core.adapters.card import Format
from core.database.tables import Adapter, Artifact, Checkpoint, Job
from core.erasure import request as erasing
from core.errors import Forbidden, NotFound
from core.estimates import measurements

router = APIRouter(prefix="/v1/models", tags=["models"])
CHECKPOINT = ":ckpt-step-"
FormatDep = Annotated[Format | None, Query(description="`peft` if you do not say; a checkpoint takes none")]
ONE_FILE = (
    "A checkpoint has only the weights of that step: leave format out to get them. The published adapter, whose name "
    "ends before :ckpt-step-, has the other formats."
)
# {} is the model's own name where files of many adapters lie side by side; diffusers looks for one fixed name
FILENAMES: dict[Format, str] = {
    "peft": "{}-peft.zip",
    "diffusers": "pytorch_lora_weights.safetensors",
    "kohya": "{}.safetensors",
    "gguf": "{}.gguf",
    "merged": "{}-merged.zip",
    "card": "{}-card.json",
}


@router.get("")
def list_models(
    services: ServicesDep,
    account: AccountDep,
    after: AfterDep = None,
    limit: Annotated[int | None, Query(ge=1, le=1000, description="all, if you do not say")] = None,
) -> Page[ModelObject]:
    """List the backbones, then the account's adapters, the oldest first; all of them, unless `limit` asks for pages."""
    registry = services.registry
    with services.reading.begin() as session:
        measured = measurements.measured(session)
        backbones = [backbone_object(record, registry.aliases(record.id), measured) for record in registry]
        names = [backbone.id for backbone in backbones]
        shown = backbones if after is None else backbones[names.index(after) + 1 :] if after in names else []
        last = None if after is None or after in names else _position(session, account, after)
        left = None if limit is None else max(0, limit - len(shown))
        adapters = adapter_objects(session, _following(account, last, None if left is None else left + 1))
    found = [*shown, *adapters]
    return page(found[:limit], limit is not None and len(found) > limit)


@router.get("/{model}")
def retrieve_model(model: str, services: ServicesDep, account: AccountDep) -> ModelObject:
    """Show a backbone or one of the account's adapters."""
    registry = services.registry
    with services.reading.begin() as session:
        if (record := registry.find(model)) is not None:
            return backbone_object(record, registry.aliases(record.id), measurements.measured(session))
        return adapter_objects(session, _adapters(account).where(Adapter.id == _find(session, account, model).id))[0]


@router.delete("/{model}")
def delete_model(model: str, services: ServicesDep, caller: CallerDep) -> Deleted:
    """Erase an adapter with all of its files, for good; its job stays as a record."""
    if services.registry.find(model) is not None:
        raise Forbidden("A backbone belongs to the service; only your adapters can be deleted.", code="not_yours")
    with services.writing.begin() as session:
        adapter = _find(session, caller.account, model)
        erasure = erasing.request(session, caller.account, "model", adapter.id)
        caller.note(session, "model.delete", adapter.id)
    return deleted_object(erasure, "model", completed=services.erase_now(erasure.id))


@router.get("/{model}/download", response_class=Response)
def download_model(
    model: str,
    services: ServicesDep,
    account: AccountDep,
    format: FormatDep = None,
    redirect: downloads.RedirectDep = True,
) -> Response:
    """Send an adapter in one format, or its provenance card; a checkpoint's name sends that step's weights.

    Kept steps are there while the job trains, and where it ended without an adapter.
    """
    name, checkpoint, step = model.partition(CHECKPOINT)
    chosen = format or "peft"
    with services.reading.begin() as session:
        if checkpoint and format:
            raise NotFound(ONE_FILE, code="format_not_available", param="format")
        stored: Artifact | Checkpoint
        if checkpoint:
            stored = _step(session, find_maker(session, account, name), step)
        else:
            stored = _result(session, _find(session, account, name), chosen)
    filename = f"step-{step}.safetensors" if checkpoint else FILENAMES[chosen].format(short_name(name))
    file = (stored.storage_key, filename, stored.bytes, stored.sha256)
    return downloads.send(services.storage, *file, redirect=redirect)


def short_name(model: str) -> str:
    """Name an adapter's file: its suffix, or its backbone where it has none, and the short id of its job."""
    _, backbone, _, suffix, id = model.split(":")
    return f"{suffix or backbone}-{id}"


def _adapters(account: str) -> Select[Adapter]:
    return select(Adapter).where(Adapter.account_id == account, Adapter.deleted_at.is_(None))


def _following(account: str, last: tuple[float, str] | None, limit: int | None) -> Select[Adapter]:
    """Choose the adapters that come after the one at `last` in the list."""
    order = (Adapter.created_at, Adapter.id)
    chosen = _adapters(account).order_by(*order).limit(limit)
    return chosen if last is None else chosen.where(tuple_(*order) > tuple_(*last))


def _position(session: Session, account: str, model: str) -> tuple[float, str]:
    """Return where an adapter stands in the list, or stood before it was erased."""
    mine = select(Adapter.created_at).where(Adapter.account_id == account, Adapter.id == model)
    created_at = session.scalar(mine)
    return place_of_erased(session, account, model) if created_at is None else (created_at, model)


def _find(session: Session, account: str, model: str) -> Adapter:
    adapter = session.scalar(_adapters(account).where(Adapter.id == model)) if plausible(model) else None
    if adapter is None:
        raise no_model()
    return adapter


def _result(session: Session, adapter: Adapter, format: str) -> Artifact:
    results = session.scalars(
        select(Artifact).where(Artifact.job_id == adapter.job_id, Artifact.kind == "result")
    ).all()
    for result in results:
        if result.format == format:
            return result
    there = ", ".join(sorted((result.format for result in results if result.format), key=card.order))
    if format in _made(session, adapter):
        message = f"The adapter's file of this format was deleted; it has {there}."
        raise NotFound(message, code="format_not_available", param="format")
    advice = " Create the job with bat.merged for merged weights." if format == "merged" else ""
    raise NotFound(
        f"The adapter has no file of this format; it has {there}.{advice}", code="format_not_available", param="format"
    )


def _made(session: Session, adapter: Adapter) -> list[str]:
    """Return the formats in which the job has published its adapter, whatever was deleted since."""
    outcome = session.scalar(select(Job.outcome).where(Job.id == adapter.job_id)) or {}
    return [*outcome.get("formats", ()), "card"]


def _step(session: Session, job: Job, step: str) -> Checkpoint:
    number = int(step) if step.isascii() and step.isdecimal() and len(step) <= 9 else -1
    checkpoint = session.scalar(select(Checkpoint).where(Checkpoint.job_id == job.id, Checkpoint.step == number))
    if checkpoint is None:
        message = (
            f"There is no such checkpoint; GET /v1/fine_tuning/jobs/{job.id}/checkpoints lists those that are kept."
        )
        raise NotFound(message, code="checkpoint_not_found", param="model")
    return checkpoint
