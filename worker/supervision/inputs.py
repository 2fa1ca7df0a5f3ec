"""What a job starts from: its references out of the store, and its parameters with every "auto" resolved."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

from core.backbones.record import BackboneRecord
from core.backbones.taggers import Taggers
from core.database.tables import File, Job
from core.errors import InvalidInput, JobFailure, NotFound, StorageUnavailable, TransientFailure
from core.parameters.parameters import Parameters
from core.parameters.request import stored_request
from core.parameters.service_defaults import ServiceDefaults
from core.parameters.summary import summarise
from core.references import packing, templates
from core.references.captions import captioned
from core.references.items import References, merge
from core.settings import Settings
from core.storage.interface import Storage
from worker.device import device, device_class
from worker.protocol import Json

log = logging.getLogger(__name__)
OPERATOR_ERRORS = frozenset({"invalid_preset", "invalid_registry"})  # in files that no job's owner can mend
UNMENDED = "A preset or a registry of this service can't be read. The operator has to mend it; the job is tried again."


def fetch_references(
    files: list[File], storage: Storage, settings: Settings, folder: Path, check: Callable[[], None]
) -> References:
    """Copy the sanitised uploads out of the store as one set; raises JobFailure where they are gone or unusable.

    Meanwhile they lie in `folder`, which is the attempt's own: what a kill leaves there goes with the attempt.

    No picture is opened: this process holds credentials, and a file may lie; its pictures are the trainer's to decode.
    StorageUnavailable where the bytes are not those that were stored: the job tries again, from a mended store.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return merge([_fetched(file, folder / file.id, storage, settings, check) for file in files])
    except (NotFound, InvalidInput) as error:
        raise JobFailure(error.message, code="invalid_training_file", param="training_file") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fetched(file: File, path: Path, storage: Storage, settings: Settings, check: Callable[[], None]) -> References:
    check()
    if storage.fetch(file.storage_key, path).sha256 != file.sha256:
        raise StorageUnavailable(f"The store has damaged the file {file.id}.", code="storage_unavailable")
    return packing.read_packed(path, file.filename, settings)


def resolve_parameters(job: Job, record: BackboneRecord, given: References, settings: Settings) -> Parameters:
    """Return the job's parameters, as an earlier attempt has resolved them or resolved now; raises JobFailure."""
    if job.parameters is not None:
        return Parameters.model_validate(job.parameters)
    request = stored_request(job.request)
    try:
        defaults = ServiceDefaults.load(settings, device_class(settings))
        return defaults.resolve(
            request.bat_or_defaults(), request.chosen(), backbone=record, summary=summarise(given), seed=job.seed
        )
    except InvalidInput as error:
        if error.code in OPERATOR_ERRORS:
            log.warning("%s", error.message)  # it names files of the operator's
            raise TransientFailure(UNMENDED, code="internal_error") from error
        raise JobFailure(error.message, code="invalid_training_file", param=error.param) from error


def writable(given: References, record: BackboneRecord, param: str = "training_file") -> References:
    """Return the references that the backbone's chat template can write; raises JobFailure where most are others."""
    try:
        return templates.writable(given, record, param)
    except InvalidInput as error:
        raise JobFailure(error.message, code="invalid_training_file", param=error.param) from error


def caption_references(given: References, record: BackboneRecord, parameters: Parameters) -> References:
    """Return the references with the captions that they are trained on."""
    return captioned(
        given, record, parameters.trigger, add_trigger=parameters.add_trigger, lines=parameters.caption_lines
    )


def specification(
    record: BackboneRecord,
    parameters: Parameters,
    settings: Settings,
    suffix: str | None,
    day: date | None = None,
    own_pools: Path | None = None,
) -> Json:
    """Return what the stages need to know, as spec.json holds it; raises JobFailure where the tagger is unusable.

    `day` is the job's; it is what chat templates write that ask which day it is. Encoded pools that are not there for
    all are kept in `own_pools`, or else for all.
    """
    tagger = Taggers.load(settings).verified(parameters.caption)
    told = {"day": day.isoformat()} if day else {}
    return told | {
        "parameters": parameters.model_dump(mode="json"),
        "backbone": record.model_dump(mode="json"),
        "tagger": tagger.model_dump(mode="json") if tagger else None,
        "device": device(settings),
        "device_memory_bytes": settings.device_memory_bytes,
        "pools": str(settings.data / "pools"),
        "own_pools": str(own_pools or settings.data / "pools"),
        "own_seconds": settings.own_seconds,
        "suffix": suffix,
        "save_seconds": settings.save_seconds,
    }
