"""The whole life of a job with the client of today, and what it says to what it cannot do."""

import sys
from pathlib import Path

import openai
from openai import OpenAI

client = OpenAI(base_url=sys.argv[2])

training = client.files.create(file=Path(sys.argv[1]), purpose="fine-tune")
validation = client.files.create(file=Path(sys.argv[1]), purpose="fine-tune")
print("listed", {training.id, validation.id} <= {file.id for file in client.files.list(limit=1, purpose="fine-tune")})

try:
    client.fine_tuning.jobs.create(
        model="gpt-4o-mini-2024-07-18",
        training_file=training.id,
        integrations=[{"type": "wandb", "wandb": {"project": "support"}}],
    )
except openai.BadRequestError as error:
    print("refused", error.param, "leave this parameter out" in error.message)

job = client.fine_tuning.jobs.create(
    model="gpt-4o-mini-2024-07-18",
    training_file=training.id,
    validation_file=validation.id,
    suffix="support",
    seed=7,
    metadata={"team": "support"},
    method={
        "type": "supervised",
        "supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 0.5}},
    },
)
print("created", job.status, job.seed, job.metadata, job.method.supervised.hyperparameters.n_epochs)

while (job := client.fine_tuning.jobs.retrieve(job.id)).status not in ("succeeded", "failed", "cancelled"):
    pass
print("ended", job.status)
print("events", len(list(client.fine_tuning.jobs.list_events(job.id, limit=1))) > 3)

for number, result in enumerate(job.result_files):
    client.files.content(result).write_to_file(Path(sys.argv[1]).with_name(f"result-{number}"))
columns = Path(sys.argv[1]).with_name("result-0").read_text().splitlines()[0].split(",")
print("results", len(job.result_files), ",".join(columns[:5]))
print("models", {"tiny-texts", job.fine_tuned_model} <= {model.id for model in client.models.list()})

try:
    client.fine_tuning.jobs.cancel(job.id)
except openai.ConflictError as error:
    print("too late", error.code, error.request_id.startswith("req_"))

try:
    client.chat.completions.create(model=job.fine_tuned_model, messages=[{"role": "user", "content": "Hello"}])
except openai.NotFoundError as error:
    print("not served", "load it where you run models" in error.message)

print("model deleted", client.models.delete(job.fine_tuned_model).deleted)
print("file deleted", client.files.delete(training.id).deleted)
try:
    client.files.retrieve(training.id)
except openai.NotFoundError as error:
    print("gone", error.code)
