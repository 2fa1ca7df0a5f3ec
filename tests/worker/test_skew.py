"""Machines whose clocks are ten minutes off: leases go by the database's clock alone."""

from __future__ import annotations

import time

import pytest

from core.database.invariants import broken_invariants
from core.database.tables import Adapter
from tests.worker.floor import Floor, kill

SKEW_SECONDS = 600.0


@pytest.mark.parametrize("plant", ["postgresql"], indirect=True)
@pytest.mark.slow
def test_clocks_that_differ_by_twenty_minutes_neither_cost_a_lease_nor_keep_a_dead_one(plant: Floor) -> None:
    with plant.dispatcher(skew=SKEW_SECONDS), plant.worker(skew=-SKEW_SECONDS) as late:
        job_id = plant.job("slow-train")
        plant.wait_for_stage("train")
        time.sleep(2 * plant.settings.lease_seconds)
        held = plant.get(job_id)
        assert (held.state, held.attempt, held.crash_count) == ("RUNNING", 1, 0)
        assert abs((held.heartbeat_at or 0.0) - time.time()) < 10
        with plant.worker(skew=SKEW_SECONDS):
            kill(late)
            job = plant.wait_for(job_id, "SUCCEEDED")
    assert job.attempt == 2  # whether the crash still counts depends on what was stored since
    assert len(plant.rows(Adapter, job_id)) == 1
    with plant.sessions() as session:
        assert broken_invariants(session) == []
