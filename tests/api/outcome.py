"""A job that has succeeded, written as a worker writes it: through core.jobs.leases and the storage."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping

import openai
from sqlalchemy import select

from core.database.tables import Adapter, Artifact, Checkpoint, File, Job, model_name, new_id
from core.jobs import leases, reports
from core.jobs.leases import Claim
from core.storage.factory import storage
from core.storage.keys import job_key
from tests.api.server import Service, pictures, png

CANDIDATES = [
    {"id": f"emoji/{n}", "source": "faces", "score": 1.0 - n, "rank": n + 1, "selected": n < 2, "caption": f"face {n}"}
    for n in range(5)
] + [{"id": "emoji/5", "source": "faces", "score": None, "rank": None, "selected": True, "caption": "face 5"}]
DECISION = {"selected": [0, 1, 5], "selection": "ranked", "gamma": 0.25}
SAMPLES = [
    {"step": step, "labels": labels, "prompt": "sks cat", "role": "subject", "image": f"step-{step}.png"}
    for step, labels in ((0, ["before"]), (120, ["published", "turning_point"]), (300, ["overfitted"]))
]
SAMPLES[1] |= {"width": 32, "height": 32, "thumbnail": "thumbnail-120.png"}  # the others are as older versions wrote
OUTCOME = {
    "selected": 2,
    "selection": "ranked",
    "valleys": [40, 120],
    "pool_size": 5,
    "gamma": 0.25,
    "verdict": "helps",
    "score_reliability": 0.6,
    "published_step": 120,
    "turning_point_step": 120,
    "stopped_early": True,
    "stop_reason": "The second valley.",
    "confidence": "medium",
    "formats": ["peft", "diffusers", "kohya"],
}
USAGE = {"peft": "import zipfile\n", "diffusers": "import torch\n", "kohya": "cp\n"}


def adapter_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("adapter_config.json", "{}")
        archive.writestr("adapter_model.safetensors", b"weights")
    return buffer.getvalue()


Files = Mapping[str, tuple[str, str | None, bytes]]
FILES: Files = {
    "score/influence.json": ("stage", None, json.dumps(CANDIDATES).encode()),
    "score/decision.json": ("stage", None, json.dumps(DECISION).encode()),
    "train/samples/samples.json": ("stage", None, json.dumps(SAMPLES).encode()),
    **{f"train/samples/step-{s['step']}.png": ("stage", None, png(int(str(s["step"])))) for s in SAMPLES},
    "train/samples/thumbnail-120.png": ("stage", None, png(121)),
    "metrics.csv": ("result", None, b"step,train_loss\n1,0.5\n"),
    "adapter-peft.zip": ("result", "peft", adapter_zip()),
    "pytorch_lora_weights.safetensors": ("result", "diffusers", b"weights"),
    "adapter-kohya.safetensors": ("result", "kohya", b"weights for ComfyUI"),
    "card.json": ("result", "card", b"{}"),
}


def publish(service: Service, client: openai.OpenAI, files: Files = FILES) -> dict[str, str]:
    """Take a job of alice through a worker's moves; returns the ids of all that came of it."""
    file = client.files.create(file=("cat.zip", pictures()), purpose="fine-tune")
    job_id = client.fine_tuning.jobs.create(model="tiny-images", training_file=file.id, suffix="cat").id
    store = storage(service.settings)
    with service.sessions.begin() as session:
        job = session.get_one(Job, job_id)
        job.priority = 9  # before those that other tests have left
        session.flush()
        claimed = leases.claim(session, queue=job.queue, worker_id="w", lease_seconds=600, account_job_limit=1000)
        assert claimed is not None
        assert claimed.id == job_id
        held = Claim.of(claimed)
        leases.resolve(session, held, {"rank": 8, "batch_size": 4, "reasons": {"rank": "usual"}})
        rows = [{"step": step, "loss": 1 / (1 + step)} for step in range(3)]
        assert reports.add_metrics(session, held, "surrogate", rows)
        assert reports.add_metrics(session, held, "train", [{**row, "cosine_similarity": 0.1} for row in rows])
        artifacts = []
        for name, (kind, form, content) in files.items():
            stored = store.put(job_key(job.account_id, job_id, 1, name), content)
            file_id = new_id("file-") if kind == "result" else None
            if file_id:
                session.add(
                    File(
                        id=file_id,
                        account_id=job.account_id,
                        filename=name,
                        purpose="fine-tune-results",
                        bytes=stored.bytes,
                        sha256=stored.sha256,
                        storage_key=stored.key,
                        status="processed",
                        created_at=job.created_at + 1,
                        job_id=job_id,
                    )
                )
                session.flush()
            artifacts.append(
                Artifact(
                    name=name,
                    kind=kind,
                    format=form,
                    storage_key=stored.key,
                    sha256=stored.sha256,
                    bytes=stored.bytes,
                    file_id=file_id,
                )
            )
        assert reports.add_artifacts(session, held, artifacts)
        stored = store.put(job_key(job.account_id, job_id, 1, "step-120.safetensors"), b"weights of 120")
        checkpoint = Checkpoint(
            account_id=job.account_id,
            step=120,
            labels=["published", "turning_point"],
            storage_key=stored.key,
            sha256=stored.sha256,
            bytes=stored.bytes,
            metrics={"train_loss": 0.1, "cosine_similarity": 0.2},
        )
        assert reports.add_checkpoints(session, held, [checkpoint])
        name = f"ft:tiny-images:{job.account_id}:cat:{job_id.removeprefix('ftjob-')[:8]}"
        adapter = Adapter(
            id=name,
            job_id=job_id,
            account_id=job.account_id,
            backbone="tiny-images",
            kind="images",
            attempt=1,
            published_step=120,
        )
        assert leases.finish(session, held, adapter, OUTCOME | {"usage": USAGE})
    return {"job": job_id, "model": name, "file": file.id}


def show(service: Service, job_id: str) -> None:
    """Take a job to its training, with a sample of step 0 that may be looked at."""
    store = storage(service.settings)
    row = {"id": "0-0", "step": 0, "labels": ["before"], "role": "subject", "prompt": "sks cat", "image": "s.png"}
    content = {"samples.json": json.dumps([row | {"width": 8, "height": 8, "thumbnail": "s.png"}]).encode()}
    with service.sessions.begin() as session:
        job = session.get_one(Job, job_id)
        job.priority = 9
        session.flush()
        claimed = leases.claim(session, queue=job.queue, worker_id="w", lease_seconds=600, account_job_limit=1000)
        assert claimed is not None
        assert claimed.id == job_id
        rows = []
        for name, found in (content | {"s.png": png(7)}).items():
            stored = store.put(job_key(job.account_id, job_id, 1, f"live/{name}"), found)
            rows.append(
                Artifact(
                    name=f"live/{name}",
                    kind=reports.LIVE,
                    storage_key=stored.key,
                    sha256=stored.sha256,
                    bytes=stored.bytes,
                )
            )
        assert reports.replace_live(session, Claim.of(claimed), rows) == []


def keep(service: Service, job_id: str, step: int) -> str:
    """Let a job that was taken to its training keep a step; returns the checkpoint's id."""
    with service.sessions.begin() as session:
        job = session.get_one(Job, job_id)
        key = job_key(job.account_id, job_id, job.attempt, f"kept/{step}")
        stored = storage(service.settings).put(key, b"weights of %d" % step)
        there = {"storage_key": stored.key, "sha256": stored.sha256, "bytes": stored.bytes}
        told = Checkpoint(step=step, labels=[], metrics={"train_loss": 0.25}, **there)
        file = Artifact(name=f"kept/{step}", kind=reports.KEPT, **there)
        assert reports.keep_step(session, Claim.of(job), told, file, model_name(job))
        found = select(Checkpoint.id).where(Checkpoint.job_id == job_id, Checkpoint.step == step)
        return session.scalars(found).one()
