"""Fine-tune on support chats, as scripts of 2024 did it. OPENAI_BASE_URL and OPENAI_API_KEY say where."""

import csv
import io
import sys
import time

from openai import OpenAI

client = OpenAI()

uploaded = client.files.create(file=open(sys.argv[1], "rb"), purpose="fine-tune")  # noqa: SIM115
client.files.wait_for_processing(uploaded.id)
print("uploaded", uploaded.id, client.files.retrieve(uploaded.id).status)

job = client.fine_tuning.jobs.create(
    training_file=uploaded.id,
    model="gpt-4o-mini-2024-07-18",
    suffix="support",
    hyperparameters={"n_epochs": 3, "batch_size": "auto", "learning_rate_multiplier": 2},
)

seen = set()
while job.status not in ("succeeded", "failed", "cancelled"):
    time.sleep(0.5)
    job = client.fine_tuning.jobs.retrieve(job.id)
    for event in reversed(client.fine_tuning.jobs.list_events(fine_tuning_job_id=job.id, limit=50).data):
        if event.id not in seen:
            seen.add(event.id)
            print("event", event.level, event.message)

if job.status != "succeeded":
    raise SystemExit(f"{job.error.code}: {job.error.message}")

curve = csv.DictReader(io.StringIO(client.files.content(job.result_files[0]).read().decode()))
print("last loss", [row["train_loss"] for row in curve][-1])
for checkpoint in client.fine_tuning.jobs.checkpoints.list(job.id):
    print("checkpoint", checkpoint.step_number, checkpoint.metrics.train_loss, checkpoint.fine_tuned_model_checkpoint)
print("model", job.fine_tuned_model, client.models.retrieve(job.fine_tuned_model).owned_by)
print("epochs", job.hyperparameters.n_epochs)
print("newest", [found.id == job.id for found in client.fine_tuning.jobs.list(limit=1).data])
