"""Two jobs side by side with the asynchronous client, told apart by their metadata."""

import asyncio
import os
import sys
import time

from openai import AsyncOpenAI

client = AsyncOpenAI(base_url=os.environ["OPENAI_BASE_URL"])
RUN = f"nightly-{time.time()}"
METHOD = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": "auto"}}}


async def create(training_file: str, variant: str) -> str:
    job = await client.fine_tuning.jobs.create(
        training_file=training_file,
        model="gpt-4o-mini-2024-07-18",
        method=METHOD,
        seed=42,
        metadata={"run": RUN, "variant": variant},
    )
    return job.id


async def until(job_id: str, *statuses: str) -> str:
    while (job := await client.fine_tuning.jobs.retrieve(job_id)).status not in statuses:
        await asyncio.sleep(0.2)
    return job.status


async def main() -> None:
    with open(sys.argv[1], "rb") as file:
        uploaded = await client.files.create(
            file=("chats.jsonl", file), purpose="fine-tune", expires_after={"anchor": "created_at", "seconds": 86_400}
        )
    await client.files.wait_for_processing(uploaded.id)
    print("expires in a day", uploaded.expires_at - uploaded.created_at == 86_400)

    kept, dropped = await asyncio.gather(create(uploaded.id, "kept"), create(uploaded.id, "dropped"))
    await client.fine_tuning.jobs.cancel(dropped)
    print("cancelled", await until(dropped, "cancelled"))

    await until(kept, "running")
    await client.fine_tuning.jobs.pause(kept)
    print("paused", await until(kept, "paused", "succeeded"))
    print("resumed", (await client.fine_tuning.jobs.resume(kept)).status)
    print("ended", await until(kept, "succeeded", "failed", "cancelled"))

    mine = [job.id async for job in client.fine_tuning.jobs.list(metadata={"run": RUN}, limit=1)]
    print("found both", sorted(mine) == sorted([kept, dropped]))
    one = [job.id async for job in client.fine_tuning.jobs.list(metadata={"run": RUN, "variant": "kept"})]
    print("found one", one == [kept])
    events = [event.message async for event in client.fine_tuning.jobs.list_events(kept, limit=2)]
    print("paged through all events", len(events) > 4, "succeeded" in events[0])
    steps = [point.step_number async for point in client.fine_tuning.jobs.checkpoints.list(kept, limit=1)]
    print("checkpoints", steps)


asyncio.run(main())
