"""OpenAI's models: backbones that jobs may name, and the adapters that jobs have made."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy import Select, select
from sqlalchemy.orm import Session
from starlette.responses import Response

from api.dependencies import AccountDep, CallerDep, ServicesDep
from api.http import downloads
from api.http.pagination import page, plausible
from api.schemas.erasures import Deleted
from api.schemas.models import ModelObject
from api.schemas.shared import Page
from api.serializers.erasures import deleted_object
from api.serializers.models import adapter_object, backbone_object
from core.adapters import card
from core.adapters.card import Format
from core.database.tables import Adapter, Artifact, Checkpoint, Job
from core.erasure import request as erasing
from core.errors import Forbidden, NotFound

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
def list_models(services: ServicesDep, account: AccountDep) -> Page[ModelObject]:
    """List the backbones and the account's adapters."""
    with services.reading.begin() as session:
        adapters = session.scalars(_adapters(account).order_by(Adapter.created_at, Adapter.id)).all()
        results = _results(session, [adapter.job_id for adapter in adapters])
    registry = services.registry
    backbones = [backbone_object(record, registry.aliases(record.id)) for record in registry]
    return page([*backbones, *(adapter_object(a, _formats(results, a.job_id)) for a in adapters)], False)


@router.get("/{model}")
def retrieve_model(model: str, services: ServicesDep, account: AccountDep) -> ModelObject:
    """Show a backbone or one of the account's adapters."""
    registry = services.registry
    if (record := registry.find(model)) is not None:
        return backbone_object(record, registry.aliases(record.id))
    with services.reading.begin() as session:
        adapter = _find(session, account, model)
        return adapter_object(adapter, _formats(_results(session, [adapter.job_id]), adapter.job_id))


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
def download_model(model: str, services: ServicesDep, account: AccountDep, format: FormatDep = None) -> Response:
    """Send an adapter in one format, or its provenance card; a checkpoint's name sends that step's weights."""
    name, checkpoint, step = model.partition(CHECKPOINT)
    chosen = format or "peft"
    with services.reading.begin() as session:
        adapter = _find(session, account, name)
        if checkpoint and format:
            raise NotFound(ONE_FILE, code="format_not_available", param="format")
        stored = _step(session, adapter, step) if checkpoint else _result(session, adapter, chosen)
    filename = f"step-{step}.safetensors" if checkpoint else FILENAMES[chosen].format(short_name(name))
    return downloads.send(services.storage, stored.storage_key, filename, stored.bytes, stored.sha256)


def short_name(model: str) -> str:
    """Name an adapter's file: its suffix, or its backbone where it has none, and the short id of its job."""
    _, backbone, _, suffix, id = model.split(":")
    return f"{suffix or backbone}-{id}"


def _adapters(account: str) -> Select[Adapter]:
    return select(Adapter).where(Adapter.account_id == account, Adapter.deleted_at.is_(None))


def _find(session: Session, account: str, model: str) -> Adapter:
    adapter = session.scalar(_adapters(account).where(Adapter.id == model)) if plausible(model) else None
    if adapter is None:
        raise NotFound("There is no such model.", code="model_not_found", param="model")
    return adapter


def _results(session: Session, job_ids: Sequence[str]) -> Sequence[Artifact]:
    return session.scalars(select(Artifact).where(Artifact.job_id.in_(job_ids), Artifact.kind == "result")).all()


def _formats(results: Sequence[Artifact], job_id: str) -> list[str]:
    return sorted((r.format for r in results if r.job_id == job_id and r.format), key=card.order)


def _result(session: Session, adapter: Adapter, format: str) -> Artifact:
    results = _results(session, [adapter.job_id])
    for result in results:
        if result.format == format:
            return result
    there = ", ".join(_formats(results, adapter.job_id))
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


def _step(session: Session, adapter: Adapter, step: str) -> Checkpoint:
    number = int(step) if step.isascii() and step.isdecimal() and len(step) <= 9 else -1
    statement = select(Checkpoint).where(Checkpoint.job_id == adapter.job_id, Checkpoint.step == number)
    checkpoint = session.scalar(statement)
    if checkpoint is None:
        raise NotFound("There is no such checkpoint.", code="checkpoint_not_found", param="model")
    return checkpoint
