"""Every stored record says how long its run was, what protected it, and with which others it shares its luck."""

import pytest

from benchmarks.statistics import Record, cluster
from benchmarks.tables.page import read

SETTING = {"family", "set", "kind", "n", "learning_rate", "seed", "pool", "cluster", "horizon"}
ARM = {"arm", "gamma", "protect", "protect_weight", "protect_on"}
RUN = {"rule", "stop_step", "best_step", "best_at_end", "forgetting", "forgetting_at_best", "seconds"}
LOSSES = {"heldout_start", "heldout_best", "heldout_at_stop"}


@pytest.fixture(scope="module")
def whole() -> dict[str, list[Record]]:
    return read()


def test_records_have_all_fields(whole: dict[str, list[Record]]) -> None:
    wanted = SETTING | ARM | RUN | LOSSES
    assert [sorted(wanted - row.keys()) for row in whole["records"] if not wanted <= row.keys()] == []
    assert [fact for fact in whole["facts"] if not fact.keys() >= SETTING] == []
    assert [row for row in whole["curves"] if not row.keys() >= SETTING | ARM] == []


def test_what_records_say_fits_together(whole: dict[str, list[Record]]) -> None:
    for row in whole["records"]:
        assert row["cluster"] == cluster(row)
        assert (row["gamma"] > 0) == (row["protect"] != "none")
        assert 1 <= row["stop_step"] <= row["horizon"]
        assert row["best_at_end"] == (row["best_step"] == row["horizon"])
        assert row["heldout_best"] <= row["heldout_at_stop"] + 1e-4
