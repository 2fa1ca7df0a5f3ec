"""What a job starts from: its references out of the store, and its parameters with every "auto" resolved."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

from core.backbones.record import BackboneRecord
from core.backbones.taggers import Taggers
from core.database.tables import File, Job
from core.errors import InvalidInput, JobFailure, NotFound, StorageUnavailable, TransientFailure
from core.parameters import presets
from core.parameters.defaults import USUAL_PRESET
from core.parameters.parameters import Parameters
from core.parameters.request import BatRequest
from core.parameters.resolving import resolve
from core.parameters.summary import summarise
from core.references import packing
from core.references.captions import captioned, uncaptioned
from core.references.items import References, merge
from core.settings import Settings
from core.storage.interface import Storage
from worker.device import device, device_class
from worker.protocol import Json

log = logging.getLogger(__name__)
OPERATORS = frozenset({"invalid_preset", "invalid_registry"})  # what is wrong with files that no job's owner can mend
UNMENDED = "A preset or a registry of this service can't be read. The operator has to mend it; the job is tried again."


def fetch_references(files: list[File], storage: Storage, settings: Settings, check: Callable[[], None]) -> References:
    """Read the sanitised uploads out of the store as one set; raises JobFailure where they are gone or unusable.

    StorageUnavailable where the bytes are not those that were stored: the job tries again, from a mended store.
    """
    parts = []
    with tempfile.TemporaryDirectory() as folder:
        for file in files:
            check()
            path = Path(folder) / file.id
            try:
                if storage.fetch(file.storage_key, path).sha256 != file.sha256:
                    raise StorageUnavailable(f"The store has damaged the file {file.id}.", code="storage_unavailable")
                parts.append(packing.read_packed(path, file.filename, settings))
            except (NotFound, InvalidInput) as error:
                raise JobFailure(error.message, code="invalid_training_file", param="training_file") from error
    return merge(parts)


def requested(job: Job) -> tuple[BatRequest, Json]:
    """Return the job's `bat` object and OpenAI's hyperparameters."""
    method = (job.request.get("method") or {}).get("supervised") or {}
    asked = method.get("hyperparameters") or job.request.get("hyperparameters") or {}
    return BatRequest.model_validate(job.request.get("bat") or {}), asked


def prepared(job: Job, record: BackboneRecord, given: References, settings: Settings) -> tuple[Parameters, References]:
    """Return the job's parameters, as an earlier attempt has resolved them or resolved now, and captioned references.

    Raises JobFailure.
    """
    bat, asked = requested(job)
    if job.parameters is not None:
        parameters = Parameters.model_validate(job.parameters)
        return parameters, captioned(given, record, parameters.trigger, add_trigger=parameters.add_trigger)
    try:
        return settled(bat, asked, record, given, settings, seed=job.seed)
    except InvalidInput as error:
        if error.code in OPERATORS:
            log.warning("%s", error.message)  # it names files of the operator's
            raise TransientFailure(UNMENDED, code="internal_error") from error
        raise JobFailure(error.message, code="invalid_training_file", param=error.param) from error


def settled(
    bat: BatRequest, asked: Json | None, record: BackboneRecord, given: References, settings: Settings, *, seed: int
) -> tuple[Parameters, References]:
    """Resolve a request, and caption its references as that says; raises InvalidInput."""
    known = presets.load(settings.presets_folder)
    chosen = known.get(USUAL_PRESET[given.kind] if bat.preset == "auto" else bat.preset)
    read = captioned(given, record, bat.trigger, add_trigger=chosen is None or chosen.add_trigger)
    parameters = resolve(
        bat,
        asked,
        backbone=record,
        summary=summarise(read, uncaptioned(given)),
        device_class=device_class(settings),
        seed=seed,
        stop_default=settings.stop,
        presets=known,
        taggers=Taggers.load(settings).ids,
    )
    return parameters, read


def specification(record: BackboneRecord, parameters: Parameters, settings: Settings, suffix: str | None) -> Json:
    """Return what the stages need to know, as spec.json holds it; raises JobFailure where the tagger is unusable."""
    tagger = Taggers.load(settings).verified(parameters.caption)
    return {
        "parameters": parameters.model_dump(mode="json"),
        "backbone": record.model_dump(mode="json"),
        "tagger": tagger.model_dump(mode="json") if tagger else None,
        "device": device(settings),
        "pools": str(settings.data / "pools"),
        "suffix": suffix,
        "save_seconds": settings.save_seconds,
    }
