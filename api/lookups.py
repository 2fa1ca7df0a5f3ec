"""The caller's own job, file, backbone or endpoint, or NotFound: nobody learns that another's exists."""

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, undefer

from api.dependencies import Services
from api.http.pagination import plausible, unknown_cursor
from core.backbones.record import BackboneRecord
from core.database.engine import now
from core.database.tables import Adapter, Artifact, Erasure, File, Job, WebhookEndpoint, model_name
from core.database.tables.jobs import ACTIVE
from core.errors import Conflict, InvalidInput, NotFound
from core.findings import jobs, profiles
from core.parameters.contradictions import check
from core.parameters.request import JobRequest
from core.references import templates

SHORT_ID = 8  # characters of a job's id at the end of a model's name
FINE_TUNED = (
    "Names that begin with ft: are of fine-tuned models; training starts from a backbone, never from one of them."
)


def find_file(session: Session, account: str, file_id: str, *, lock: bool = False) -> File:
    """Return the account's file, or raise NotFound."""
    statement = files_of(session, account).where(File.id == file_id)
    file = session.scalar(statement.with_for_update() if lock else statement) if plausible(file_id) else None
    if file is None:
        raise NotFound("There is no such file.", code="file_not_found", param="file_id")
    return file


def files_of(session: Session, account: str) -> Select[File]:
    alive = File.expires_at.is_(None) | (File.expires_at > now(session))
    return select(File).where(File.account_id == account, File.deleted_at.is_(None), alive)


def check_unused(session: Session, file: File) -> None:
    """Raise Conflict where a job that waits, runs or is paused needs the locked file as it is."""
    active = session.scalars(
        select(Job).where(Job.account_id == file.account_id, Job.state.in_(ACTIVE), Job.published_from_job.is_(None))
    )
    if any(file.id in (*job.training_files, job.validation_file) for job in active):
        raise Conflict("A queued, running or paused job uses this file; cancel it or wait.", code="file_in_use")


def check_replaceable(session: Session, file: File) -> None:
    """Lock the job that has made the file, if any; Conflict where nothing else holds the weights of its adapter."""
    if file.job_id is None:
        return
    session.execute(select(Job.id).where(Job.id == file.job_id).with_for_update())
    mine = (Artifact.job_id == file.job_id) & Artifact.format.is_not(None) & (Artifact.format != "card")
    if session.scalars(select(Artifact.file_id).where(mine)).all() == [file.id]:
        raise Conflict(
            "This file is all that is left of an adapter; delete the model, which erases all of its files.",
            code="last_file_of_model",
        )


def find_job(session: Session, account: str, job_id: str) -> Job:
    """Return the account's job, or raise NotFound."""
    job = session.scalar(jobs_of(account).where(Job.id == job_id)) if plausible(job_id) else None
    if job is None:
        raise NotFound("There is no such fine-tuning job.", code="job_not_found", param="job_id")
    return job


def find_maker(session: Session, account: str, model: str) -> Job:
    """Return the account's job whose adapter this is or will be, or raise NotFound; one that was erased is no more."""
    short = model.rpartition(":")[2]
    if not plausible(model) or len(short) != SHORT_ID:
        raise no_model()
    erased = select(Adapter.job_id).where(Adapter.account_id == account, Adapter.deleted_at.is_not(None))
    alike = jobs_of(account).where(Job.id.startswith(f"ftjob-{short}", autoescape=True), Job.id.not_in(erased))
    job = next((job for job in session.scalars(alike) if model_name(job) == model), None)
    if job is None:
        raise no_model()
    return job


def no_model() -> NotFound:
    """Say that there is none."""
    return NotFound("There is no such model.", code="model_not_found", param="model")


def jobs_of(account: str) -> Select[Job]:
    return select(Job).where(Job.account_id == account, Job.deleted_at.is_(None))


def find_backbone(services: Services, name: str) -> BackboneRecord:
    """Return the backbone that a body names, or raise InvalidInput."""
    try:
        return services.registry.get(name)
    except NotFound as error:
        # the body names it, so it is the body that is wrong, not the address
        message = f"{FINE_TUNED} {error.message}" if name.startswith("ft:") else error.message
        raise InvalidInput(message, code=error.code, param="model") from None


def check_files(
    session: Session, services: Services, account: str, body: JobRequest, backbone: BackboneRecord, *, lock: bool = True
) -> tuple[list[str], jobs.Data]:
    """Return the files to learn from, and what is known of them; raises InvalidInput where they can't be used."""
    settings = services.settings
    bat = body.bat_or_defaults()
    training = [body.training_file, *bat.training_files]
    if len(set(training)) != len(training):
        message = "training_file and bat.training_files name the same file twice; name each once."
        raise InvalidInput(message, code="repeated_file", param="bat.training_files")
    files = []
    for file_id in training:
        param = "training_file" if file_id == body.training_file else "bat.training_files"
        files.append(_check_file(session, account, file_id, param, backbone, lock))
    count = sum(file.items for file in files)
    limit = settings.max_images if backbone.kind == "images" else settings.max_items
    if count > limit:
        message = f"A job takes at most {limit} {backbone.kind}; these files hold {count}."
        raise InvalidInput(message, code="too_many_items", param="training_file")
    validation = None
    if body.validation_file is not None:
        file = _check_file(session, account, body.validation_file, "validation_file", backbone, lock)
        validation = profiles.parse(file.profile)
    check(bat, backbone, backbone.kind, count, presets=services.presets, taggers=services.taggers.ids)
    known = tuple(profile for file in files if (profile := profiles.parse(file.profile)))
    templates.check(count, sum(profile.with_tools for profile in known), backbone)
    if validation is not None:
        templates.check(len(validation.texts), validation.with_tools, backbone, "validation_file")
    data = jobs.Data(known, validation, count)
    jobs.check_masks(data, bat)
    return training, data


def _check_file(session: Session, account: str, file_id: str, param: str, backbone: BackboneRecord, lock: bool) -> File:
    wanted = (File.account_id == account, File.id == file_id, File.deleted_at.is_(None))
    statement = select(File).where(*wanted).options(undefer(File.profile))
    # the lock makes a deletion wait, or this call see it
    statement = statement.with_for_update(read=True) if lock else statement
    file = session.scalar(statement) if plausible(file_id) else None
    if file is None or (file.expires_at is not None and file.expires_at <= now(session)):
        message = f"{param} names no file of this account; upload the file first."
        raise InvalidInput(message, code="file_not_found", param=param)
    if file.status != "processed" or not file.items:
        raise InvalidInput("The file holds no references that can be used.", code="invalid_training_file", param=param)
    if file.kind != backbone.kind:
        message = f"{backbone.id} is adapted with {backbone.kind}; this file holds {file.kind}."
        raise InvalidInput(message, code="wrong_kind_of_file", param=param)
    return file


def place_of_erased(session: Session, account: str, identifier: str) -> tuple[float, str]:
    """Return where in a list something stood that has been erased since; whoever pages and deletes asks for it."""
    statement = select(Erasure.created_at).where(Erasure.account_id == account, Erasure.target == identifier)
    created_at = session.scalar(statement.limit(1))
    if created_at is None:
        raise unknown_cursor()
    return created_at, identifier


def find_endpoint(session: Session, account: str, identifier: str, *, lock: bool = False) -> WebhookEndpoint:
    """Return the account's endpoint, or raise NotFound."""
    mine = select(WebhookEndpoint).where(WebhookEndpoint.account_id == account, WebhookEndpoint.id == identifier)
    endpoint = session.scalar(mine.with_for_update() if lock else mine) if plausible(identifier) else None
    if endpoint is None:
        raise NotFound(
            "There is no such webhook endpoint.", code="webhook_endpoint_not_found", param="webhook_endpoint_id"
        )
    return endpoint
