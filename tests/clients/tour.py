"""Make every call that there is with one client, and print what its models miss in the answers, as JSON.

Arguments: a file of chats, `sync` or `async`, and `strict` to let the client itself check every answer.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai

sys.path.append(str(Path(__file__).parent))
from required import differences

FILE, KIND, STRICT = sys.argv[1], sys.argv[2], "strict" in sys.argv
ENDED = ("succeeded", "failed", "cancelled")


class Tour:
    """Makes calls, one after the other, and keeps what was found wrong with the answers."""

    def __init__(self) -> None:
        kind = openai.OpenAI if KIND == "sync" else openai.AsyncOpenAI
        self.client = kind(_strict_response_validation=STRICT, max_retries=0)
        self.found: dict[str, list[str]] = {}

    async def call(self, name: str, *arguments: object, key: str | None = None, **named: Any) -> Any:
        """Make a call such as `files.create`; returns the client's object."""
        *path, last = name.split(".")
        resource: Any = self.client
        for part in path:
            resource = getattr(resource, part)
        raw = await _done(getattr(resource.with_raw_response, last)(*arguments, **named))
        found = self.found.setdefault(key or name, [])
        if "x-request-id" not in raw.headers:
            found.append("no x-request-id")
        body = json.loads(raw.http_response.content)
        try:
            parsed = raw.parse()
        except openai.APIResponseValidationError as error:
            found.append(f"strict: {error.__cause__}")
            return type("Unchecked", (), body)
        found += self._compare(parsed, body)
        return parsed

    def _compare(self, parsed: Any, body: Any) -> list[str]:
        if not hasattr(parsed, "_get_page_items"):
            return differences(type(parsed), body, type(parsed).__name__)
        items = zip(parsed.data, body["data"], strict=True)
        found = [line for item, raw in items for line in differences(type(item), raw, type(item).__name__)]
        return found + [f"page: {key} is missing" for key in ("object", "has_more", "data") if key not in body]

    async def until(self, job_id: str, *statuses: str) -> Any:
        """Poll a job, which must not take a minute."""
        for _ in range(300):
            job = await self.call("fine_tuning.jobs.retrieve", job_id)
            if job.status in statuses:
                return job
            await asyncio.sleep(0.2)
        raise TimeoutError(job.status)

    async def everything(self, listed: Callable[[], Any]) -> list[Any]:
        """Go through all pages of a list, as the client does by itself."""
        pages = listed()
        if hasattr(pages, "__aiter__"):
            return [item async for item in pages]
        return list(await _done(pages))


async def _done(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result


async def files(tour: Tour) -> str:
    content = Path(FILE).read_bytes()
    week = {"anchor": "created_at", "seconds": 604_800}
    file = await tour.call("files.create", file=("a.jsonl", content), purpose="fine-tune", expires_after=week)
    other = await tour.call("files.create", file=content, purpose="fine-tune")
    assert file.expires_at - file.created_at == 604_800
    await _done(tour.client.files.wait_for_processing(file.id))
    await tour.call("files.retrieve", file.id)
    await tour.call("files.list", limit=1, order="asc", purpose="fine-tune")
    ids = [one.id for one in await tour.everything(lambda: tour.client.files.list(limit=2, purpose="fine-tune"))]
    assert len(set(ids)) == len(ids)
    assert {file.id, other.id} <= set(ids)
    binary = await _done(tour.client.files.content(file.id))
    assert json.loads(binary.text.splitlines()[0]) == json.loads(content.splitlines()[0])
    await tour.call("files.delete", other.id)
    return file.id


async def jobs(tour: Tour, file_id: str) -> Any:
    hyperparameters = {"n_epochs": 2, "batch_size": "auto", "learning_rate_multiplier": 1.5}
    method = {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}}
    given = {"model": "gpt-4o-mini-2024-07-18", "training_file": file_id, "metadata": {"tour": file_id}}
    name = "fine_tuning.jobs.create"
    job = await tour.call(name, **given, method=method, validation_file=file_id, suffix="tour", seed=3)
    old = await tour.call(name, **given, hyperparameters=hyperparameters, integrations=[])
    await tour.call("fine_tuning.jobs.cancel", old.id)
    failing = await tour.call(name, **given, suffix="fail")
    await tour.until(job.id, "running")
    await tour.call("fine_tuning.jobs.pause", job.id)
    await paused(tour, job.id)
    await tour.call("fine_tuning.jobs.resume", job.id)
    failed = await tour.until(failing.id, *ENDED)
    error = failed.error if isinstance(failed.error, dict) else failed.error.to_dict()
    assert error["code"] == "diverged"
    assert (await tour.until(old.id, *ENDED)).status == "cancelled"
    job = await tour.until(job.id, *ENDED)
    assert job.status == "succeeded"
    mine = {"metadata": {"tour": file_id}}
    await tour.call("fine_tuning.jobs.list", limit=2, **mine)
    listed = await tour.everything(lambda: tour.client.fine_tuning.jobs.list(limit=1, **mine))
    assert [one.id for one in listed] == [failing.id, old.id, job.id]
    return job


async def paused(tour: Tour, job_id: str) -> None:
    """Wait for the one status that the client's models do not know."""
    for _ in range(300):
        unchecked = await _done(tour.client.fine_tuning.jobs.with_raw_response.retrieve(job_id))
        if json.loads(unchecked.http_response.content)["status"] == "paused":
            break
        await asyncio.sleep(0.1)
    await tour.call("fine_tuning.jobs.retrieve", job_id, key="paused")


async def results(tour: Tour, job: Any) -> None:
    await tour.call("fine_tuning.jobs.list_events", job.id, limit=3)
    every = await tour.everything(lambda: tour.client.fine_tuning.jobs.list_events(job.id, limit=1))
    assert len({event.id for event in every}) == len(every) > 5
    await tour.call("fine_tuning.jobs.checkpoints.list", job.id, limit=1)
    steps = await tour.everything(lambda: tour.client.fine_tuning.jobs.checkpoints.list(job.id, limit=1))
    assert [point.step_number for point in steps] == [40, 20]
    curve = await _done(tour.client.files.content(job.result_files[0]))
    assert curve.text.startswith("step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy")
    await tour.call("models.list")
    await tour.call("models.retrieve", "gpt-4o-mini-2024-07-18")
    await tour.call("models.retrieve", job.fine_tuned_model)
    await tour.call("models.delete", job.fine_tuned_model)


async def main() -> None:
    tour = Tour()
    file_id = await files(tour)
    await results(tour, await jobs(tour, file_id))
    print(json.dumps({"version": openai.__version__, "found": tour.found}))


asyncio.run(main())
