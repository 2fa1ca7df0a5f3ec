"""What a job would take, told before it is made."""

from fastapi import APIRouter

from api.dependencies import AccountDep, JobRequestDep, Services, ServicesDep
from api.file_versions import through_edits
from api.http.openapi import body_of
from api.lookups import check_files, find_backbone
from api.schemas.estimates import EstimateObject
from api.serializers.estimates import estimate_object
from core.estimates.estimator import estimate
from core.estimates.queue_wait import QueuedJobs, present, usual_device, waiting
from core.estimates.summaries import files_of
from core.findings import jobs
from core.parameters.request import JobRequest

router = APIRouter(tags=["fine-tuning jobs"])


@router.post("/v1/fine_tuning/jobs/estimate", openapi_extra=body_of(JobRequest))
def estimate_job(body: JobRequestDep, services: ServicesDep, account: AccountDep) -> EstimateObject:
    """Tell how long a job would take, what it needs, and what "auto" becomes; a key with the scope read is enough.

    The body is that of a create call and is checked as that is. Nothing is stored, and no job is made.
    """
    return through_edits(lambda: _estimated(body, services, account))


def _estimated(body: JobRequest, services: Services, account: str) -> EstimateObject:
    record = find_backbone(services, body.model)
    with services.reading.begin() as session:
        training, data = check_files(session, services, account, body, record, lock=False)
        device = usual_device(present(session, services.settings))
        defaults = services.job_defaults(device)
        estimator = services.estimators.of(session, record, device)
        found = estimate(session, services.storage, estimator, defaults, body, training, data.sizes, data.sized)
        queued = QueuedJobs(session, services.registry, defaults, device)
        wait = waiting(session, services.settings, queued.seconds)
        told = jobs.of(data, record, body.bat_or_defaults())
        files = files_of(session, [*training, *([body.validation_file] if body.validation_file else [])])
        return estimate_object(found, wait, jobs.of_template(data, record), told, files)
