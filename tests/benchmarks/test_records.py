"""Every stored record says how long its run was, what protected it, and with which others it shares its luck."""

import pytest

from benchmarks.statistics import Record, cluster
from benchmarks.tables.page import read, read_study

SETTING = {"family", "set", "kind", "n", "learning_rate", "seed", "pool", "cluster", "horizon"}
ARM = {"arm", "gamma", "protect", "protect_weight", "protect_on"}
RUN = {"rule", "stop_step", "best_step", "best_at_end", "forgetting", "forgetting_at_best", "seconds"}
LOSSES = {"heldout_start", "heldout_best", "heldout_at_stop"}
STUDY = {"published", "best_step", "best_at_end", "steps", "reference", "heldout", "probe", "similarity", "kept"}


@pytest.fixture(scope="module")
def whole() -> dict[str, list[Record]]:
    return read()


@pytest.fixture(scope="module")
def study() -> dict[str, list[Record]]:
    return read_study()


def test_records_have_all_fields(whole: dict[str, list[Record]], study: dict[str, list[Record]]) -> None:
    assert whole["records"]
    wanted = (
        (SETTING | ARM | RUN | LOSSES, whole["records"]),
        (SETTING, whole["facts"]),
        (SETTING | ARM, whole["curves"]),
        (SETTING | ARM | STUDY, study["records"]),
        (SETTING | {"folds"}, study["facts"]),
    )
    assert [sorted(names - row.keys()) for names, rows in wanted for row in rows if not names <= row.keys()] == []


def test_what_records_say_fits_together(whole: dict[str, list[Record]], study: dict[str, list[Record]]) -> None:
    for row in [*whole["records"], *study["records"]]:
        assert row["cluster"] == cluster(row)
        assert (row["gamma"] > 0) == (row["protect"] != "none")
        assert row["best_at_end"] == (row["best_step"] == row["horizon"])
    for row in whole["records"]:
        assert 1 <= row["stop_step"] <= row["horizon"]
        assert row["heldout_best"] <= row["heldout_at_stop"] + 1e-4
    for row in study["records"]:
        assert 1 <= row["published"] <= row["horizon"] == row["steps"][-1]
        assert len(row["heldout"]) == len(row["probe"]) == len(row["reference"]) == len(row["steps"])
        assert all(float(far) >= 0 for found in row["kept"].values() for far in found.values())
