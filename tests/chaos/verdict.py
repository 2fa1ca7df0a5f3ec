"""The promises, one after the other: what the evidence says of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

from core.database.tables import JobState
from core.database.tables.jobs import MOVES, TERMINAL
from tests.chaos import service
from tests.chaos.check import Check, spread
from tests.chaos.evidence import Evidence
from tests.chaos.told import webhooks_told
from tests.chaos.trainer import STEPS, weights

PUBLISHED = (1, 3, 2)  # adapters, result files and checkpoints of every succeeded job
SPARE_SECONDS = 5.0

MOST_REPEATED = 0.1  # of all steps


def judge(evidence: Evidence, long: bool) -> list[Check]:
    """Check every promise; a long storm must also have tested what a short one may miss."""
    checks: Sequence[Callable[[Evidence, bool], Check]] = (
        nothing_lost,
        published_once,
        resumed_in_time,
        little_repeated,
        poison_contained,
        cancels_final,
        one_job_a_key,
        histories,
        service.drains,
        service.broker_away,
        service.database_away,
        whole_files,
        webhooks_told,
        nothing_left,
        storm_itself,
    )
    return [check(evidence, long) for check in checks]


def nothing_lost(evidence: Evidence, long: bool) -> Check:
    """P1: what was accepted has ended, and nothing else is there."""
    accepted = {job_id for order in evidence.orders for job_id in order.ids}
    lost, surplus = accepted - set(evidence.jobs), set(evidence.jobs) - accepted
    waiting = [job.id for job in evidence.jobs.values() if job.state not in TERMINAL]
    states = dict(Counter(job.state.lower() for job in evidence.jobs.values()))
    words = f"{len(accepted)} accepted; {states}; {len(lost)} lost, {len(waiting)} not ended, {len(surplus)} nobody's"
    figures = {"accepted": len(accepted), "lost": sorted(lost), "waiting": waiting, "states": states}
    return Check("P1 no accepted job is lost", not (lost or surplus or waiting), words, figures)


def published_once(evidence: Evidence, long: bool) -> Check:
    """P2: one adapter and one set of results for every succeeded job, its own; late writers were fenced."""
    succeeded = evidence.in_state(JobState.SUCCEEDED)
    adapters = Counter(adapter.job_id for adapter in evidence.adapters)
    results = Counter(file.job_id for file in evidence.files if file.job_id)
    kept = Counter(row.job_id for row in evidence.checkpoints)
    odd = [job.id for job in succeeded if (adapters[job.id], results[job.id], kept[job.id]) != PUBLISHED]
    odd += [job_id for job_id in {*adapters, *results} if evidence.jobs[job_id].state != JobState.SUCCEEDED]
    strange = [row.job_id for row in evidence.checkpoints if evidence.content(row.storage_key) != weights(row.job_id)]
    held = [*evidence.journal.noted("late writer"), *evidence.journal.noted("late packets")]
    late = [one for one in held if one["taken"]]
    fenced = [one for one in late if one["fenced"]]
    loose = [one["job_id"] for one in late if not one["fenced"]]
    words = (
        f"{len(succeeded)} succeeded, {len(odd)} not published exactly once, {len(strange)} with other bytes; "
        f"{len(fenced)} of {len(late)} late writers fenced"
    )
    good = not odd and not strange and not loose and (bool(fenced) or not long)
    return Check("P2 published exactly once", good, words, {"odd": odd, "late": late, "loose": loose})


def resumed_in_time(evidence: Evidence, long: bool) -> Check:
    """P3: the job of a killed worker is claimed again within lease + dispatcher period + 5 s, troubles not counted."""
    settings = evidence.plant.settings
    limit = settings.lease_seconds + settings.dispatcher_seconds + SPARE_SECONDS
    times, late = [], []
    for lost in evidence.journal.noted("lost"):
        killed, job_id = float(str(lost["at"])), str(lost["job_id"])
        after = [event for event in evidence.events[job_id] if event.created_at > killed and event.to_state]
        claimed = next((event for event in after if event.to_state == JobState.RUNNING), None)
        if claimed is None or after[0].to_state in TERMINAL:
            continue  # it was cancelled, or had been finished just before the kill
        took = claimed.created_at - killed
        times.append(took)
        if took > limit + evidence.journal.disturbed(killed, claimed.created_at, service.BLOCKING):
            late.append((job_id, round(took, 1)))
    words = f"{len(times)} kills of a worker with a job; {spread(times)}; limit {limit:.1f} s; {len(late)} later"
    return Check("P3 a dead worker's job goes on", not late and bool(times or not long), words, {"late": late})


def little_repeated(evidence: Evidence, long: bool) -> Check:
    """P4: little is repeated: on the whole, and over many lost attempts no more than a stage for each.

    One attempt may lose more: what it did while the store was away, or slower than a trainer that takes a second.
    """
    steps = evidence.steps()
    done, needed = sum(steps.values()), len(steps)
    attempts = sum(max(0, job.attempt - 1) for job in evidence.jobs.values() if not evidence.poisoned(job))
    interval = max(STEPS.values()) if long else sum(STEPS.values())
    share = (done - needed) / max(1, needed)
    words = f"{done} steps for {needed}: {share:.1%} repeated over {attempts} lost attempts (at most {interval} each)"
    figures = {"done": done, "needed": needed, "share": share, "lost attempts": attempts}
    return Check(
        "P4 resumes, not from zero", share <= MOST_REPEATED and done - needed <= interval * attempts, words, figures
    )


def poison_contained(evidence: Evidence, long: bool) -> Check:
    """P6: a job that kills its workers fails after so many, and no other job fails."""
    most = evidence.plant.settings.max_crashes
    poisoned = [job for job in evidence.jobs.values() if evidence.poisoned(job)]
    right = [job for job in poisoned if (job.state, job.error_code) == (JobState.FAILED, "worker_crashed")]
    others = [job for job in evidence.in_state(JobState.FAILED) if not evidence.poisoned(job)]
    told = {job.id: f"{job.error_code} crashes {job.crash_count} retries {job.retry_count}" for job in others}
    words = (
        f"{len(right)} of {len(poisoned)} poisoned jobs failed after {most} crashes; {len(others)} others failed {told}"
    )
    return Check("P6 poison is contained", len(right) == len(poisoned) and not others, words, {"others": told})


def cancels_final(evidence: Evidence, long: bool) -> Check:
    """P7: a cancel that was answered with yes ends the job in time, and for ever, without a result."""
    settings = evidence.plant.settings
    limit = settings.lease_seconds + settings.dispatcher_seconds + settings.cancel_grace_seconds + SPARE_SECONDS
    asked = [evidence.jobs[next(iter(order.ids))] for order in evidence.orders if order.cancelled]
    wrong = [job.id for job in asked if job.state != JobState.CANCELLED]
    wrong += [row.job_id for row in evidence.adapters if evidence.jobs[row.job_id].state == JobState.CANCELLED]
    times, late = [], []
    for job in evidence.in_state(JobState.CANCELLED):
        assert job.cancel_requested_at is not None
        assert job.finished_at is not None
        times.append(job.finished_at - job.cancel_requested_at)
        if times[-1] > limit + evidence.journal.disturbed(job.cancel_requested_at, job.finished_at, service.BLOCKING):
            late.append((job.id, round(times[-1], 1)))
    words = (
        f"{len(asked)} cancelled; {len(wrong)} not for good; {spread(times)}; limit {limit:.1f} s; {len(late)} later"
    )
    return Check("P7 cancel works and is final", not wrong and not late, words, {"wrong": wrong, "late": late})


def one_job_a_key(evidence: Evidence, long: bool) -> Check:
    """P8: one job for one key, however often it was sent, and none for another request with a used key."""
    double = [order.key for order in evidence.orders if len(order.ids) != 1]
    refused = [order.twin_status for order in evidence.orders if order.twin_status is not None]
    again = sum(call.what == "create" and call.status != 200 for call in evidence.calls)
    words = (
        f"{len(evidence.orders)} keys, {len(evidence.jobs)} jobs, {again} creates without a clear answer, "
        f"{len(double)} keys without exactly one job; twins answered {dict(Counter(refused))}"
    )
    good = not double and set(refused) <= {409} and len(evidence.repetitions) == len(evidence.jobs)
    return Check("P8 one job for one key", good, words, {"double": double})


def histories(evidence: Evidence, long: bool) -> Check:
    """P9: histories are dense and hold allowed moves only; nobody saw a status go back from the end."""
    broken = []
    for job_id, events in evidence.events.items():
        moves = [(event.from_state, event.to_state) for event in events if event.to_state]
        chained = all(before[1] == after[0] for before, after in pairwise(moves))
        allowed = all(JobState(str(to)) in MOVES[JobState(origin)] for origin, to in moves if origin)
        dense = [event.seq for event in events] == list(range(1, len(events) + 1))
        if not (chained and allowed and dense and moves and moves[0] == (None, JobState.QUEUED)):
            broken.append(job_id)
    ends = {"succeeded", "failed", "cancelled"}
    back = [o.key for o in evidence.orders for a, b in pairwise(o.seen) if a in ends and a != b]
    count = sum(map(len, evidence.events.values()))
    words = f"{count} events; {len(broken)} histories broken; {len(back)} statuses seen to go back from the end"
    return Check("P9 history only goes forward", not broken and not back, words, {"broken": broken})


def whole_files(evidence: Evidence, long: bool) -> Check:
    """P13: every file that a succeeded job names is in the store with its sha256; the store did misbehave."""
    torn, counts = evidence.torn_objects(), evidence.plant.servers.store.counts
    words = (
        f"{evidence.objects} objects read, {len(torn)} not whole; of {counts['requests']} requests to the store "
        f"{counts['refused']} refused and {counts['torn']} answers torn"
    )
    return Check("P13 what succeeded is whole", not torn and bool(evidence.objects), words, {"torn": torn})


def nothing_left(evidence: Evidence, long: bool) -> Check:
    """The tables hold together, every worker still works, and neither processes nor private folders are left."""
    slow = [name for name, took in evidence.endings.items() if took is None]
    words = (
        f"broken invariants: {evidence.broken or 'none'}; {len(evidence.left_processes)} processes and "
        f"{len(evidence.left_folders)} attempt or empty folders left; workers that took no more jobs: "
        f"{evidence.asleep or 'none'}; killed at the end: {slow or 'none'}"
    )
    good = not (evidence.broken or evidence.left_processes or evidence.left_folders or evidence.asleep or slow)
    return Check("    all is tidy at the end", good, words, {"endings": evidence.endings})


def storm_itself(evidence: Evidence, long: bool) -> Check:
    """The storm did what it says: no client and no trouble died of an error of its own."""
    dead = [f"client {client.number}: {client.error!r}" for client in evidence.clients if client.error]
    errors = evidence.journal.noted("harness error")
    words = f"{len(evidence.journal.spans)} troubles; {dead or 'no'} clients and {errors or 'no'} troubles went wrong"
    return Check("    the storm was one", not dead and not errors, words)
