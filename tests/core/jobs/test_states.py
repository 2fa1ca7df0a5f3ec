"""Any order of what owners, workers, dispatchers and late writers do, against a model of what a job may be."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import func, select, update

from core.database.engine import connect, sessions
from core.database.invariants import broken_invariants
from core.database.migrations import migrate
from core.database.tables import Adapter, Job, JobEvent, JobState
from core.database.tables.jobs import ACTIVE, MOVES, TERMINAL
from core.errors import Conflict
from core.jobs import control, dispatch, reports
from core.jobs.leases import Claim
from core.jobs.standing import FINISHED
from core.parameters.schedule import STAGES
from tests.core.ledger import MAX_CRASHES, SETTINGS, WRITES, Sessions, artifact, claim, get, lose_lease, queued, reap

STEPS_AN_EXAMPLE = 40
WORKER = sorted(WRITES)
ENDS = {"finish": JobState.SUCCEEDED, "fail": JobState.FAILED}


class Life(RuleBasedStateMachine):
    """One job; `late` workers write under a claim that is over."""

    sessions: Sessions
    steps = 0

    @initialize()
    def begin(self) -> None:
        with self.sessions.begin() as session:
            session.execute(update(Job).values(queue="aside"))
            others = update(Job).where(Job.lease_until.is_not(None))
            session.execute(others.values(lease_until=1e12))  # those of examples before do not run out
        self.job_id = queued(self.sessions, f"acct-{secrets.token_hex(4)}")
        self.state, self.attempt, self.seq, self.asked = JobState.QUEUED, 0, 1, set[str]()
        self.pausing = False
        self.furthest, self.crashes, self.retries = (-1, 0), 0, 0

    @rule()
    def a_worker_claims(self) -> None:
        taken = claim(self.sessions)
        assert (taken is not None) == (self.state == JobState.QUEUED)

    @rule(what=st.sampled_from(["cancel", "pause", "resume"]))
    def the_owner_orders(self, what: str) -> None:
        ended = self.state in TERMINAL and not (what == "cancel" and self.state == JobState.CANCELLED)
        refused = ended or (what == "pause" and "cancel" in self.asked and self.state == JobState.RUNNING)
        try:
            with self.sessions.begin() as session:
                getattr(control, what)(session, session.get_one(Job, self.job_id))
            assert not refused
        except Conflict:
            assert refused

    @rule(write=st.sampled_from(WORKER), late=st.integers(0, 2))
    def a_worker_writes(self, write: str, late: int) -> None:
        held = self.state == JobState.RUNNING and late == 0
        with self.sessions.begin() as session:
            answer = WRITES[write](session, Claim(self.job_id, self.attempt - late))
        if not held:
            assert not answer
            return
        self._note_progress({"stage": (0, FINISHED), "save": (0, 1)}.get(write))
        if write == "retry" and "cancel" not in self.asked and not self.pausing:
            self.retries += 1
            ended = self.retries > SETTINGS.max_retries
            assert get(self.sessions, self.job_id).state == (JobState.FAILED if ended else JobState.QUEUED)
        if write in ENDS and answer:
            assert get(self.sessions, self.job_id).state in (ENDS[write], JobState.CANCELLED)

    @rule(stage=st.sampled_from(STAGES), step=st.integers(0, 3), late=st.integers(0, 1))
    def a_save_is_stored(self, stage: str, step: int, late: int) -> None:
        held = self.state == JobState.RUNNING and late == 0
        claimed = Claim(self.job_id, self.attempt - late)
        with self.sessions.begin() as session:
            answer = reports.replace_saves(session, claimed, [artifact(reports.SAVE)], (stage, step))
        assert (answer is not None) == held
        self._note_progress((STAGES.index(stage), step) if held else None)

    def _note_progress(self, reached: tuple[int, int] | None) -> None:
        if reached is not None and reached > self.furthest:
            self.furthest, self.crashes, self.retries = reached, 0, 0

    @rule(times=st.integers(1, 3))
    def a_lease_runs_out(self, times: int) -> None:
        if self.state == JobState.RUNNING:
            lose_lease(self.sessions, self.job_id)
            self.crashes += 1
        for turn in range(times):  # any number of dispatchers
            assert reap(self.sessions) == ([self.job_id] if turn == 0 and self.state == JobState.RUNNING else [])
        if self.state == JobState.RUNNING and not self.asked and not self.pausing:
            ended = self.crashes >= MAX_CRASHES
            assert get(self.sessions, self.job_id).state == (JobState.FAILED if ended else JobState.QUEUED)

    @rule(passed=st.booleans())
    def a_deadline_is_looked_at(self, passed: bool) -> None:
        with self.sessions.begin() as session:
            at = 1.0 if passed else None
            session.execute(update(Job).where(Job.id == self.job_id).values(deadline_at=at))
            assert dispatch.expire(session) == int(passed and self.state == JobState.QUEUED)
            session.execute(update(Job).where(Job.id == self.job_id).values(deadline_at=None))

    @invariant()
    def the_history_is_whole_and_nothing_goes_back(self) -> None:
        if not hasattr(self, "job_id"):
            return
        type(self).steps += 1
        with self.sessions.begin() as session:
            session.execute(update(Job).where(Job.id == self.job_id).values(not_before=0.0))  # the delay has passed
            job = session.get_one(Job, self.job_id)
            news = session.scalars(
                select(JobEvent).where(JobEvent.job_id == self.job_id, JobEvent.seq > self.seq).order_by(JobEvent.seq)
            ).all()
            published = session.scalar(select(func.count()).where(Adapter.job_id == self.job_id))
            assert broken_invariants(session) == []
        assert [event.seq for event in news] == list(range(self.seq + 1, self.seq + 1 + len(news)))
        for event in news:
            if event.to_state is not None:
                assert event.from_state == self.state
                assert JobState(event.to_state) in MOVES[self.state]
                self.state = JobState(event.to_state)
        assert job.state == self.state
        assert job.attempt >= self.attempt
        assert published == (self.state == JobState.SUCCEEDED)
        assert (job.finished_at is None) == (self.state in ACTIVE)
        self.seq, self.attempt = self.seq + len(news), job.attempt
        assert (job.crash_count, job.retry_count) == (self.crashes, self.retries)
        self.asked = {"cancel"} if job.cancel_requested_at is not None else set()
        self.pausing = job.pause_requested_at is not None


@pytest.mark.slow
def test_no_order_of_events_makes_a_state_that_can_not_be(
    database_url: str, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = pytestconfig.getoption("--state-steps")
    migrate(database_url)
    engine = connect(database_url)
    machine: Callable[[], Life] = type("Life", (Life,), {"sessions": sessions(engine), "steps": 0})
    chosen = settings(
        max_examples=max(1, wanted // STEPS_AN_EXAMPLE),
        stateful_step_count=STEPS_AN_EXAMPLE,
        suppress_health_check=list(HealthCheck),
        database=None,
        derandomize=wanted < 10_000,
    )
    with suppress(StopIteration):
        run_state_machine_as_test(machine, settings=chosen)
    engine.dispose()
    with capsys.disabled():
        if wanted >= 10_000:
            print(f"\n{machine.steps} steps on {database_url.partition(':')[0]}, no illegal transition")  # type: ignore[attr-defined]
    assert machine.steps > wanted / 2  # type: ignore[attr-defined]
