"""What a job tells of the files that it has learned from: versions, and the picture that stands for it in a list."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable

import httpx
from PIL import Image
from sqlalchemy import update

from api.serializers import covers
from core.database.tables import File, Job, JobEvent
from tests.api.item_edits import add, done, remove, upload, zipped
from tests.api.server import Service, chats, pictures, png, refused

JOBS = "/v1/fine_tuning/jobs"
Create = Callable[..., httpx.Response]


def versions(http: httpx.Client, job: str) -> list[dict]:
    return http.get(f"{JOBS}/{job}").json()["bat"]["training_versions"]


def ended(service: Service, http: httpx.Client, create: Create, **body: object) -> str:
    made = create(**body)
    assert made.status_code == 200, made.text
    job = made.json()["id"]
    assert http.post(f"{JOBS}/{job}/cancel").json()["status"] == "cancelled"
    return job


def test_a_job_tells_the_versions_that_it_took_and_which_were_changed_or_erased_since(
    service: Service, http: httpx.Client, create: Create
) -> None:
    files = [upload(http, pictures(count)) for count in (3, 4, 5)]
    ids = [file["id"] for file in files]
    more = {"training_file": ids[0], "validation_file": ids[2], "bat": {"training_files": [ids[1]]}}
    job = ended(service, http, create, **more)
    took = [
        {"file_id": file["id"], "sha256": file["bat"]["sha256"], "changed": False, "erased": False} for file in files
    ]
    assert versions(http, job) == took
    edited = done(add(http, ids[1], ("new.png", png(77))))
    assert http.delete(f"/v1/files/{ids[2]}").status_code == 200
    assert versions(http, job) == [took[0], took[1] | {"changed": True}, took[2] | {"erased": True}]
    done(remove(http, ids[1], "new.png"))
    assert versions(http, job)[1]["changed"] is False  # it is again what the job took
    assert edited["bat"]["sha256"] != files[1]["bat"]["sha256"]
    (listed,) = [row for row in http.get(JOBS).json()["data"] if row["id"] == job]
    assert listed["bat"]["training_versions"] == versions(http, job)
    first = http.get(f"{JOBS}/{job}/events").json()["data"][-1]["data"]
    assert first == {"code": "queued", "files": [{"id": row["file_id"], "sha256": row["sha256"]} for row in took]}


def test_a_job_of_an_older_version_says_nothing_of_its_files(
    service: Service, http: httpx.Client, create: Create
) -> None:
    job = ended(service, http, create)
    with service.sessions.begin() as session:
        session.execute(update(JobEvent).where(JobEvent.job_id == job).values(data=None))
    assert versions(http, job) is None


def test_an_upload_tells_how_many_jobs_use_it_and_one_that_none_uses_can_be_erased(
    service: Service, http: httpx.Client, create: Create
) -> None:
    file = upload(http, pictures(3))["id"]

    def use() -> tuple[int, bool]:
        told = http.get(f"/v1/files/{file}").json()["bat"]
        listed = http.get("/v1/files", params={"purpose": "fine-tune"}).json()["data"]
        assert [row["bat"] for row in listed if row["id"] == file] == [told]
        return told["used_by"], told["in_use"]

    assert use() == (0, False)
    job = ended(service, http, create, training_file=file)
    assert use() == (1, False)
    active = create(training_file=file).json()["id"]
    assert use() == (2, True)
    refused(http.delete(f"/v1/files/{file}"), 409, "file_in_use")
    for one in (job, active):
        http.delete(f"{JOBS}/{one}")
    assert use() == (0, False)
    assert http.delete(f"/v1/files/{file}").status_code == 200
    refused(http.get(f"/v1/files/{file}"), 404, "file_not_found")


def covered(http: httpx.Client, job: str) -> str | None:
    return {row["id"]: row["bat"]["cover"] for row in http.get(JOBS, params={"covers": True}).json()["data"]}[job]


def opened(cover: str | None) -> Image.Image:
    assert cover is not None
    return Image.open(io.BytesIO(base64.b64decode(cover.partition(",")[2])))


def test_a_list_shows_a_job_by_its_first_reference_until_something_was_drawn(
    service: Service, http: httpx.Client, create: Create
) -> None:
    file = upload(http, zipped(a_png=png(1, 300), b_png=png(2, 300)))
    job = ended(service, http, create, training_file=file["id"])
    assert opened(covered(http, job)).size == (96, 96)
    assert [row["bat"]["cover"] for row in http.get(JOBS).json()["data"]] == [None] * len(http.get(JOBS).json()["data"])
    drawn = "data:image/png;base64," + base64.b64encode(png(3)).decode()
    for outcome, shown in (
        (drawn, drawn),
        ("data:image/svg+xml;base64,AAAA", None),
        ("javascript:alert(1)", None),
        ("data:image/png;base64," + "A" * 40_000, None),
        (7, None),
    ):
        with service.sessions.begin() as session:
            session.get_one(Job, job).outcome = {"cover": outcome}
        assert (covered(http, job) == shown) is (shown is not None)
        assert http.get(f"{JOBS}/{job}").json()["bat"]["cover"] is None
    http.delete(f"/v1/files/{file['id']}")
    assert covered(http, job) is None


def test_a_job_of_texts_has_no_picture(http: httpx.Client, create: Create) -> None:
    file = upload(http, chats(3), "a.jsonl")
    job = create(model="tiny-texts", training_file=file["id"]).json()["id"]
    assert covered(http, job) is None


def test_what_an_adapter_has_drawn_goes_with_it(
    service: Service, http: httpx.Client, published: dict[str, str]
) -> None:
    drawn = "data:image/png;base64," + base64.b64encode(png(3)).decode()
    with service.sessions.begin() as session:
        job = session.get_one(Job, published["job"])
        job.outcome = {**(job.outcome or {}), "cover": drawn}
    assert covered(http, published["job"]) == drawn
    http.delete(f"/v1/models/{published['model']}")
    with service.sessions() as session:
        outcome = session.get_one(Job, published["job"]).outcome
    assert outcome is not None
    assert covers.COVER not in outcome
    assert outcome["published_step"] == 120


def test_an_upload_of_before_covers_has_none(service: Service, http: httpx.Client, create: Create) -> None:
    job = create().json()
    with service.sessions.begin() as session:
        row = session.get_one(File, job["training_file"])
        row.profile = {name: value for name, value in (row.profile or {}).items() if name != "cover"}
    assert covered(http, job["id"]) is None
    refused(http.get(JOBS, params={"covers": "perhaps"}), 400)
