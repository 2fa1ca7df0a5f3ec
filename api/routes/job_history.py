"""What a job has done and found: events, checkpoints, metrics, influence, samples."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request
from sqlalchemy import case, select
from sqlalchemy.orm import Session
from starlette.responses import Response, StreamingResponse

from api.dependencies import AccountDep, AfterDep, CallerDep, ServicesDep
from api.http.downloads import pieces
from api.http.pagination import page, rows_after, slice_after, unknown_cursor
from api.lookups import find_job
from api.schemas.jobs import CandidateObject, CheckpointPage, EventObject, InfluencePage, MetricObject
from api.schemas.samples import SamplePage
from api.schemas.shared import Page
from api.serializers import results, samples
from api.serializers.curves import thinned
from api.serializers.event_stream import events_after, stream_events
from api.serializers.jobs import checkpoint_object, event_object, metric_object
from core.database.tables import Checkpoint, JobEvent, Metric
from core.database.tables.jobs import TERMINAL
from core.errors import InvalidInput, NotFound
from core.parameters.schedule import STAGES

router = APIRouter(prefix="/v1/fine_tuning/jobs/{job_id}", tags=["fine-tuning jobs"])
LimitDep = Annotated[int, Query(ge=1, le=1000)]
PointsDep = Annotated[int | None, Query(ge=2, le=5000, description="rows of a stage at most, for a chart")]
DEFAULT_EVENTS = 20
MAX_EVENTS = 1000
POINTS_AFTER = (
    "`points` answers with whole curves on one page. Ask once with `points`, then with `after`, the last id that you "
    "have, and without `points` for what is new."
)
PNG = "image/png"
# generators of clients that know no pictures take what they know: bytes
BYTES = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in ("application/octet-stream", PNG)}
# a picture is looked at and nothing else, whatever it holds; who has cached it asks whether it is still there
SHOWN = {
    "Content-Disposition": "inline",
    "Content-Security-Policy": "default-src 'none'",
    "Cache-Control": "private, no-cache",
}


@router.get("/events", response_model=Page[EventObject])
def list_events(
    job_id: str,
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    after: AfterDep = None,
    limit: LimitDep = DEFAULT_EVENTS,
    progress: Annotated[bool, Query(description="in a stream: tell between events where the job is")] = False,
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
) -> Page[EventObject] | Response:
    """List events, the newest first; with `Accept: text/event-stream` send them as they happen, the oldest first."""
    with services.reading.begin() as session:
        job = find_job(session, caller.account, job_id)
        if "text/event-stream" in request.headers.get("accept", ""):
            seen = events_after(session, job.id, last_event_id)
            return stream_events(services.stream_limit, services.reading, caller, job.id, seen, progress=progress)
        statement = select(JobEvent).where(JobEvent.job_id == job.id)
        last = None
        if after is not None:
            last = session.execute(select(JobEvent.seq).where(JobEvent.job_id == job.id, JobEvent.id == after)).first()
            if last is None:
                raise unknown_cursor()
        rows, more = rows_after(session, statement, (JobEvent.seq,), last=last, limit=limit, descending=True)
        return page(map(event_object, rows), more)


@router.get("/checkpoints")
def list_checkpoints(
    job_id: str, services: ServicesDep, account: AccountDep, after: AfterDep = None, limit: LimitDep = 10
) -> CheckpointPage:
    """List the kept steps, the last first: the published one, and those it was chosen from.

    They come while the job trains, each as soon as its weights can be downloaded.
    """
    with services.reading.begin() as session:
        job = find_job(session, account, job_id)
        mine = Checkpoint.job_id == job.id
        last = session.execute(select(Checkpoint.step).where(mine, Checkpoint.id == after)).first() if after else None
        if after and last is None:
            raise unknown_cursor()
        statement = select(Checkpoint).where(mine)
        rows, more = rows_after(session, statement, (Checkpoint.step,), last=last, limit=limit, descending=True)
        listed = page((checkpoint_object(row, job) for row in rows), more)
        return CheckpointPage(**dict(listed), ready=job.state in TERMINAL)


@router.get("/metrics")
def list_metrics(
    job_id: str,
    services: ServicesDep,
    account: AccountDep,
    after: AfterDep = None,
    limit: LimitDep = MAX_EVENTS,
    stage: Annotated[Literal["prepare", "surrogate", "score", "trial", "train", "export"] | None, Query()] = None,
    points: PointsDep = None,
) -> Page[MetricObject]:
    """List the curves, step by step in the order of the stages; what is new since then follows `after` its last id.

    With `points` they come whole on one page, each stage with so many rows at most: the first, the last and the
    extremes of every curve are among them.
    """
    if points is not None and after is not None:
        raise InvalidInput(POINTS_AFTER, code="contradiction", param="after")
    with services.reading.begin() as session:
        job = find_job(session, account, job_id)
        if points is not None:
            return page(thinned(session, job.id, STAGES if stage is None else (stage,), points), False)
        statement = select(Metric).where(Metric.job_id == job.id)
        if stage is not None:
            statement = statement.where(Metric.stage == stage)
        rank = case({name: number for number, name in enumerate(STAGES)}, value=Metric.stage, else_=len(STAGES))
        last = _metric_position(session, job.id, after) if after is not None else None
        rows, more = rows_after(session, statement, (rank, Metric.step), last=last, limit=limit, descending=False)
        return page(map(metric_object, rows), more)


@router.get("/influence")
def list_influence(
    job_id: str,
    services: ServicesDep,
    account: AccountDep,
    after: AfterDep = None,
    limit: LimitDep = DEFAULT_EVENTS,
    order: Annotated[Literal["asc", "desc"], Query(description="by score: the most helpful first, or last")] = "desc",
) -> InfluencePage:
    """List the scored candidates with their signed influence on the reference loss (positive: it helps).

    Those without a score come last in either order.
    """
    with services.reading.begin() as session:
        job = find_job(session, account, job_id)
        stored, note = (results.look(session, job, name) for name in ("influence.json", "decision.json"))
        ended = job.state in TERMINAL
    rows = results.read(services.storage, stored) if stored else []
    chosen, more = slice_after(sorted(rows, key=_by_score(order)), after, limit)
    listed = page((CandidateObject(**row) for row in chosen), more)
    selection = results.decided(services.storage, note).get("selection")
    return InfluencePage(**dict(listed), ready=stored is not None or ended, selection=selection)


@router.get("/samples")
def list_samples(
    job_id: str, services: ServicesDep, account: AccountDep, after: AfterDep = None, limit: LimitDep = DEFAULT_EVENTS
) -> SamplePage:
    """List the samples of the kept steps, always drawn from the same seeds: before, right, and too late.

    A few come while the job trains; what comes at the end for the same step and prompt is the same.
    """
    with services.reading.begin() as session:
        job = find_job(session, account, job_id)
        ended = job.state in TERMINAL
        stored, pictures = results.look(session, job, "samples.json"), results.images(session, job.id)
    rows = results.read(services.storage, stored) if stored else []
    chosen, more = slice_after(rows, after, limit)
    shown = [samples.sample_object(services.storage, job_id, row, pictures) for row in chosen]
    return SamplePage(**dict(page(shown, more)), ready=ended)


@router.get("/samples/{sample_id}/image", response_class=Response, responses={200: {"content": BYTES}})
def show_sample(
    job_id: str,
    sample_id: str,
    services: ServicesDep,
    account: AccountDep,
    size: Annotated[Literal["256"] | None, Query(description="the longer side in pixels, at most")] = None,
) -> Response:
    """Show the picture of a sample, to be looked at where it is: image/png."""
    with services.reading.begin() as session:
        job = find_job(session, account, job_id)
        stored, pictures = results.look(session, job, "samples.json"), results.images(session, job.id)
    rows = results.read(services.storage, stored) if stored else []
    row = next((row for row in rows if row["id"] == sample_id), {})
    small = samples.picture_of(row, pictures, small=True) if size else None
    picture = small or samples.picture_of(row, pictures)
    if picture is None:
        message = "There is no picture of this sample; the job's samples list those that there are, with image_url."
        raise NotFound(message, code="sample_not_found", param="sample_id")
    headers = SHOWN | {"Content-Length": str(picture.bytes), "ETag": f'"{picture.sha256}"'}
    return StreamingResponse(pieces(services.storage.open(picture.storage_key)), headers=headers, media_type=PNG)


def _metric_position(session: Session, job_id: str, after: str) -> tuple[int, int]:
    stage, _, step = after.partition(":")
    known = stage in STAGES and step.isascii() and step.isdecimal() and len(step) <= 9
    if not known or session.get(Metric, (job_id, stage, int(step))) is None:
        raise unknown_cursor()
    return STAGES.index(stage), int(step)


def _by_score(order: str) -> Callable[[dict[str, Any]], tuple[bool, float]]:
    sign = -1 if order == "desc" else 1
    return lambda row: (row.get("score") is None, sign * float(row.get("score") or 0.0))
