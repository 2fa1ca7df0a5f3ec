"""Use a client that was generated from the document: send a file, create a job, find it again, and be refused."""

import io
import os
import sys
from pathlib import Path

from albatross_client import AuthenticatedClient
from albatross_client.api.files import create_file, list_files
from albatross_client.api.fine_tuning_jobs import cancel_job, create_job, list_events, list_jobs, retrieve_job
from albatross_client.api.models import list_models
from albatross_client.models import BatRequest, CreateFileBody, Error, JobRequest
from albatross_client.types import File

client = AuthenticatedClient(os.environ["OPENAI_BASE_URL"].removesuffix("/v1"), os.environ["OPENAI_API_KEY"])
chats = File(io.BytesIO(Path(sys.argv[1]).read_bytes()), "chats.jsonl")
file = create_file.sync(client=client, body=CreateFileBody(file=chats, purpose="fine-tune"))
wanted = JobRequest(model="tiny-texts", training_file=file.id, suffix="made", bat=BatRequest(rank=4))
job = create_job.sync(client=client, body=wanted)
print(job.status, job.user_provided_suffix, job.bat.request["rank"])
print(retrieve_job.sync(job.id, client=client).id == job.id)
print(job.id in [one.id for one in list_jobs.sync(client=client, limit=5).data])
print(file.id in [one.id for one in list_files.sync(client=client).data])
print([one.message for one in list_events.sync(job.id, client=client).data][-1])
print(cancel_job.sync(job.id, client=client).id == job.id)
print("tiny-texts" in [one.id for one in list_models.sync(client=client).data])
answer = create_job.sync(client=client, body=JobRequest(model="none", training_file=file.id))
print(isinstance(answer, Error), answer.error.param)
