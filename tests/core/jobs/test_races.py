"""Processes that race for the same jobs on each database: one claim, one end, one history, and no impossible state."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, update

from core.database import invariants
from core.database.tables import Job, JobState, WebhookEvent
from core.database.tables.jobs import MOVES, TERMINAL
from core.disk import ROOT
from core.errors import Conflict
from core.jobs import control, dispatch
from core.jobs.leases import Claim
from tests.core.ledger import WRITES, Sessions, claim, get, lose_lease, moves, queued, running

PROCESSES, ACCOUNTS, JOBS, LIMIT = 8, 6, 6, 3
CLAIMER = """
import json, sys
from sqlalchemy.exc import OperationalError
from core.jobs import leases
from core.database.engine import connect, sessions
made = sessions(connect(sys.argv[1]))
with made() as session:
    session.connection()
print("ready", flush=True)
sys.stdin.readline()
claimed = []
while True:
    try:
        with made.begin() as session:
            limit = int(sys.argv[2])
            job = leases.claim(session, queue="gpu", worker_id="w", lease_seconds=60, account_job_limit=limit)
    except OperationalError:  # on a busy machine the others hold the lock for too long; a worker asks again
        continue
    if job is None:
        break
    claimed.append(job.id)
print(json.dumps(claimed))
"""


def race(url: str) -> list[str]:
    """Let eight processes claim until nothing is left; returns all that they have got."""
    command = [sys.executable, "-c", CLAIMER, url, str(LIMIT)]
    claimers = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    for claimer in claimers:
        assert claimer.stdout is not None
        assert claimer.stdout.readline() == "ready\n"
    for claimer in claimers:
        assert claimer.stdin is not None
        claimer.stdin.write("\n")
        claimer.stdin.flush()
    answers = [claimer.communicate(timeout=180)[0] for claimer in claimers]
    assert [claimer.returncode for claimer in claimers] == [0] * PROCESSES
    return [job_id for answer in answers for job_id in json.loads(answer)]


@pytest.mark.slow
def test_eight_processes_claim_each_job_once_and_overrun_no_accounts_limit(
    database: Sessions, database_url: str
) -> None:
    for number in range(ACCOUNTS * JOBS):
        queued(database, f"acct-{number % ACCOUNTS}")
    taken = race(database_url)
    assert len(taken) == len(set(taken)) == ACCOUNTS * LIMIT
    jobs_taken = [get(database, job_id) for job_id in taken]
    assert all((job.state, job.attempt) == (JobState.RUNNING, 1) for job in jobs_taken)
    assert set(Counter(job.account_id for job in jobs_taken).values()) == {LIMIT}


def apply(sessions: Sessions, move: str, held: Claim) -> object:
    """Make one move of those that workers, owners and dispatchers make."""
    with sessions.begin() as session:
        if move == "reap":
            return dispatch.reap(session, 3)
        if move == "cancel":
            with suppress(Conflict):
                return control.cancel(session, session.get_one(Job, held.job_id))
            return None
        return WRITES[move](session, held)


@pytest.mark.slow
@pytest.mark.parametrize("rival", ["cancel", "reap", "fail", "release", "retry", "finish"])
def test_a_move_that_races_with_the_end_comes_before_or_after_it(
    database: Sessions, rival: str, pytestconfig: pytest.Config
) -> None:
    for _ in range(pytestconfig.getoption("--races")):
        held = running(database)
        if rival == "reap":
            lose_lease(database, held.job_id)
        barrier = threading.Barrier(2)

        def move(name: str, held: Claim = held, barrier: threading.Barrier = barrier) -> object:
            barrier.wait()
            return apply(database, name, held)

        with ThreadPoolExecutor(2) as pool:
            answers = [future.result() for future in (pool.submit(move, "finish"), pool.submit(move, rival))]
        succeeded = get(database, held.job_id).state == JobState.SUCCEEDED
        if rival == "finish":
            assert sorted(map(bool, answers)) == [False, True]
        else:
            assert answers[0] is succeeded
        check(database, held.job_id)
        with database.begin() as session:
            session.execute(update(Job).where(Job.state == JobState.QUEUED).values(queue="aside"))


def check(sessions: Sessions, job_id: str) -> None:
    """No impossible state anywhere, one adapter for each success, one event for each end, an unbroken history."""
    with sessions() as session:
        assert invariants.broken_invariants(session) == []
        told = session.scalar(select(func.count()).select_from(WebhookEvent).where(WebhookEvent.job_id == job_id))
    assert told == (get(sessions, job_id).state in TERMINAL)
    chain = moves(sessions, job_id)
    assert chain[0] == (None, JobState.QUEUED)
    assert chain[-1][1] == get(sessions, job_id).state
    for before, after in pairwise(chain):
        assert before[1] == after[0]
        assert JobState(str(after[1])) in MOVES[JobState(str(after[0]))]


STEPS = st.one_of(
    st.just(("claim", 0)),
    st.just(("lose", 0)),
    st.tuples(st.sampled_from(["cancel", "reap", *WRITES]), st.integers(0, 1)),
)


@pytest.mark.slow
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=st.lists(STEPS, max_size=20))
def test_no_order_of_moves_breaks_a_jobs_history(database: Sessions, steps: list[tuple[str, int]]) -> None:
    """`late` moves carry the claim before the last one."""
    with database.begin() as session:
        session.execute(update(Job).values(queue="aside"))
    job_id = queued(database, f"acct-{secrets.token_hex(4)}")
    for move, late in steps:
        before = get(database, job_id)
        if move == "claim":
            claim(database)
        elif move == "lose" and before.state == JobState.RUNNING:
            lose_lease(database, job_id)
        elif move != "lose":
            apply(database, move, Claim(job_id, before.attempt - late))
        after = get(database, job_id)
        assert after.attempt >= before.attempt
        if before.state in TERMINAL:
            assert after.state == before.state
        with database.begin() as session:  # as if the delay before the next attempt had passed
            session.execute(update(Job).where(Job.id == job_id).values(not_before=0.0))
    check(database, job_id)
