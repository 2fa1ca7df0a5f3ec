"""What a job starts from: its references out of the store, and its parameters with every "auto" resolved."""

from __future__ import annotations

import glob
import tempfile
from collections.abc import Callable
from pathlib import Path

from core import references
from core.backbones import BackboneRecord
from core.errors import InvalidInput, JobFailure, NotFound
from core.models import File, Job
from core.parameters import BatRequest, Parameters, ReferenceSummary, resolve
from core.references import ImageItem, References
from core.settings import Settings
from core.storage import Storage
from worker.protocol import Json

CHARACTERS_PER_TOKEN = 4.0


def fetch_references(files: list[File], storage: Storage, settings: Settings, check: Callable[[], None]) -> References:
    """Read the sanitised uploads out of the store as one set; raises JobFailure where they are gone or unusable."""
    parts = []
    with tempfile.TemporaryDirectory() as folder:
        for file in files:
            check()
            path = Path(folder) / file.id
            try:
                storage.fetch(file.storage_key, path)
                parts.append(references.read(path, file.filename, settings))
            except (NotFound, InvalidInput) as error:
                raise JobFailure(error.message, code="invalid_training_file", param="training_file") from error
    return references.merge(parts)


def summarise(read: References) -> ReferenceSummary:
    """Return what resolving needs to know of the references."""
    texts = [] if read.kind == "images" else [text_of(item) for item in read.items]
    tokens = sum(map(len, texts)) / len(texts) / CHARACTERS_PER_TOKEN if texts else None
    return ReferenceSummary(kind=read.kind, count=len(read.items), mean_tokens=tokens, prompts=prompts_of(read))


def prompts_of(read: References) -> tuple[str, ...]:
    """Return the captions of images, or what the texts answer to."""
    if read.kind == "images":
        return tuple(item.caption for item in read.items if isinstance(item, ImageItem) and item.caption)
    return tuple(prompt for item in read.items if (prompt := question_of(item)))


def question_of(item: object) -> str | None:
    """Return what a text item answers to: its prompt, or the first thing that the user says."""
    messages = getattr(item, "messages", None) or ()
    asked = [str(message["content"]) for message in messages if message["role"] == "user"]
    return getattr(item, "prompt", None) or (asked[0] if asked else None)


def text_of(item: object) -> str:
    """Return all that a text item says, as one string."""
    messages = getattr(item, "messages", None) or ()
    parts = [str(message["content"]) for message in messages]
    parts += [str(part) for name in ("prompt", "completion", "text") if (part := getattr(item, name, None))]
    return "\n".join(parts)


def resolve_parameters(job: Job, record: BackboneRecord, read: References, settings: Settings) -> Parameters:
    """Return the parameters that an earlier attempt has resolved, else resolve them; raises JobFailure."""
    if job.parameters is not None:
        return Parameters.model_validate(job.parameters)
    request = job.request
    method = (request.get("method") or {}).get("supervised") or {}
    asked = method.get("hyperparameters") or request.get("hyperparameters") or {}
    try:
        return resolve(
            BatRequest.model_validate(request.get("bat") or {}), asked, backbone=record, summary=summarise(read),
            device_class="cuda" if device(settings).startswith("cuda") else "cpu", seed=job.seed,
            stop_default=settings.stop,
        )  # fmt: skip
    except InvalidInput as error:
        raise JobFailure(error.message, code="invalid_training_file", param=error.param) from error


def device(settings: Settings) -> str:
    """Return the trainer's device; "auto" asks for a GPU by its device file, since torch is not loaded here."""
    if settings.device != "auto":
        return settings.device
    return "cuda" if glob.glob("/dev/nvidia[0-9]*") else "cpu"


def specification(record: BackboneRecord, parameters: Parameters, settings: Settings, suffix: str | None) -> Json:
    """Return what the stages need to know, as spec.json holds it."""
    return {
        "parameters": parameters.model_dump(mode="json"),
        "backbone": record.model_dump(mode="json"),
        "device": device(settings),
        "pools": str(settings.data / "pools"),
        "suffix": suffix,
    }
