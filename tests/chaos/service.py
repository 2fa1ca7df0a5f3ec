"""What was promised of the service as others see it: how workers leave, and how the API answers without its parts."""

from __future__ import annotations

from tests.chaos.check import Check, spread
from tests.chaos.clients import Call
from tests.chaos.evidence import Evidence

# while one of these is in trouble nobody can promise a time
BLOCKING = {"database", "broker", "storage", "worker", "dispatcher", "trainer", "disk", "wake-ups"}
DRAIN_SECONDS = 8.0
QUICK_SECONDS = 0.9  # who waits for a silent broker needs a second at least
LONGEST_ANSWER = {"sqlite": 11.0, "postgresql": 7.0}  # seconds


def drains(evidence: Evidence, long: bool) -> Check:
    """P10: a worker that is told to end hands its job back and exits, and this counts as no crash."""
    times: list[float] = []
    clean: list[str] = []
    late: list[object] = []
    crashed: list[str] = []
    for drain in evidence.journal.noted("drain"):
        began, ended = float(str(drain["began"])), float(str(drain["at"]))
        times.append(ended - began)
        disturbed = evidence.journal.disturbed(began, ended, {"database", "storage", "disk", "trainer"})
        if drain["seconds"] is None or ended - began > DRAIN_SECONDS + disturbed:
            late.append(drain["worker"])
        jobs: dict[str, int] = drain["jobs"]  # type: ignore[assignment]
        if not disturbed:
            clean += jobs
            crashed += [job_id for job_id, attempt in jobs.items() if _lost(evidence, job_id, attempt)]
    words = (
        f"{len(times)} workers told to end; {spread(times)}; limit {DRAIN_SECONDS:g} s; {len(late)} later; "
        f"{len(crashed)} of {len(clean)} jobs without other troubles lost"
    )
    return Check("P10 graceful stop", not late and not crashed, words, {"late": late, "crashed": crashed})


def _lost(evidence: Evidence, job_id: str, attempt: int) -> bool:
    """Tell whether an attempt ended by its lease, and not because its process had been killed before."""
    killed = {(lost["job_id"], lost["attempt"]) for lost in evidence.journal.noted("lost")}
    events = [event for event in evidence.events[job_id] if event.attempt == attempt]
    ends = [event.actor for event in events if event.from_state == "RUNNING"]
    return "dispatcher" in ends and (job_id, attempt) not in killed


def broker_away(evidence: Evidence, long: bool) -> Check:
    """P11: jobs are taken as quickly without a broker as with one."""
    away = _creates(evidence, {"broker"}, {"database", "storage", "api", "disk"})
    quiet = _creates(evidence, set(), {"broker", "database", "storage", "api", "disk", "worker"})
    refused = [call for call in away if call.status != 200]
    limit = max(QUICK_SECONDS, 2 * (_p99(quiet) or 0))
    words = (
        f"{len(away)} creates while it was away, {len(refused)} not taken; p99 {_milliseconds(away)} "
        f"(else {_milliseconds(quiet)} over {len(quiet)})"
    )
    good = not refused and (_p99(away) or 0) <= limit
    return Check("P11 the broker is disposable", good, words, {"refused": [call.words for call in refused]})


def database_away(evidence: Evidence, long: bool) -> Check:
    """P12: 503 while the database is away, and never 500 nor a hang."""
    wrong = [call for call in evidence.calls if call.status >= 500 and call.status != 503]
    unreached = [
        call
        for call in evidence.calls
        if call.status == 0 and not evidence.journal.disturbed(call.began, call.began + call.seconds, {"api"})
    ]
    away = [call for call in evidence.calls if _during(evidence, call, {"database"}, {"api", "storage"})]
    longest = max((call.seconds for call in away), default=0.0)
    limit = LONGEST_ANSWER[evidence.plant.servers.kind]
    busy = sum(call.status == 503 for call in away)
    words = (
        f"{len(away)} calls while it was away: {busy} answered 503, longest {longest:.1f} s (limit {limit:g} s); "
        f"in all {len(wrong)} other 5xx, {len(unreached)} without an answer though the API was up"
    )
    told = {"wrong": [call.words for call in wrong], "unreached": [call.words for call in unreached]}
    return Check("P12 a lost database is survived", not wrong and not unreached and longest <= limit, words, told)


def _during(evidence: Evidence, call: Call, parts: set[str], without: set[str]) -> bool:
    """Tell whether a call was made while parts were away, and nothing of `without` was."""
    end = call.began + call.seconds
    return not evidence.journal.disturbed(call.began, end, without) and (
        not parts or evidence.journal.disturbed(call.began, end, parts) > 0
    )


def _creates(evidence: Evidence, parts: set[str], without: set[str]) -> list[Call]:
    return [
        call
        for call in evidence.calls
        if call.what.startswith("create")
        and call.what != "create with a used key"
        and _during(evidence, call, parts, without)
    ]


def _p99(calls: list[Call]) -> float | None:
    times = sorted(call.seconds for call in calls)
    return times[min(len(times) - 1, int(0.99 * len(times)))] if times else None


def _milliseconds(calls: list[Call]) -> str:
    value = _p99(calls)
    return "-" if value is None else f"{1000 * value:.0f} ms"
