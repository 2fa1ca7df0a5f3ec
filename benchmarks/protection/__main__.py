"""By what means is a backbone best protected? All arms on all sets of a family, against none and against BAT's replay.

Resumable: an experiment whose results are there is not repeated.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks import records
from benchmarks.method import progress, settings
from benchmarks.protection import auto, means
from benchmarks.protection.experiment import DIGITS, experiment
from benchmarks.protection.means import ProtectionArm
from benchmarks.records import Record
from benchmarks.statistics import unit
from benchmarks.tables.replays import published
from benchmarks.world import Setting

RESULTS = Path(__file__).resolve().parents[1] / "results" / "protection.json"
FAMILIES = ("emoji", "smollm2", "gemma270m")  # and the small language model, for the study of stops
SECTIONS = ("records", "pictures", "facts", "auto")
ARMS = {
    "means": (means.IMAGES, means.TEXTS),
    "others": (means.OTHERS, means.OTHERS_OF_TEXTS),
    "generated": (means.GENERATED, means.GENERATED_TEXTS),
    "stops": ((means.NONE,), (means.NONE,)),
}


def main() -> None:
    """Run what is missing and write the results."""
    chosen = arguments()
    torch.set_num_threads(chosen.threads)
    wanted = [
        (study, setting)
        for study in chosen.studies
        for family in chosen.families
        for setting in settings_of(family, chosen.seeds)[: chosen.sets]
        if not chosen.only or setting.set in chosen.only
    ]
    missing = [(study, setting) for study, setting in wanted if not file_of(chosen.work, study, setting).is_file()]
    began = time.monotonic()
    for done, (study, setting) in enumerate(missing):
        left = (time.monotonic() - began) / done * (len(missing) - done) if done else None
        print(progress(done, len(missing), setting, left), file=sys.stderr, flush=True)
        found = run(study, setting, chosen.work)
        records.write(file_of(chosen.work, study, setting), found)
    if not chosen.gather:
        return
    files = sorted((chosen.work / "protection").glob("*/*.json"))
    whole = {name: once(rows) for name, rows in records.gather(files, SECTIONS).items()}
    stop(whole)
    records.write(chosen.results, whole)
    counted = f"{len(whole['records'])} runs of {len(whole['facts'])} experiments, {len(whole['auto'])} on auto"
    print(f"{counted}: {chosen.results}")


def settings_of(family: str, seeds: Sequence[int]) -> list[Setting]:
    """Return a family's settings, each run without protection once: no pool changes it."""
    return [setting for setting in settings(family, seeds, False) if setting.pool == "related"]


def run(study: str, setting: Setting, work: Path) -> Record:
    """Run one experiment of a study."""
    if study == "auto":
        return auto.experiment(setting, work)
    return experiment(setting, work, arms(study, setting), drawn=study != "generated")


def once(rows: list[Record]) -> list[Record]:
    """Return each run, each of its pictures and each experiment's facts once, though two studies have the arm.

    A stack's runs do not depend on what else is in it, so they are the same to the last digit.
    """
    found: dict[object, Record] = {}
    for row in rows:
        found.setdefault((unit(row), row.get("arm"), row.get("step")), row)
    return list(found.values())


def stop(whole: dict[str, list[Record]]) -> None:
    """Name every run's published step anew, by the rule of now: all that it goes by was kept."""
    evidence = {unit(fact): fact["folds"] for fact in whole["facts"]}
    for row in whole["records"]:
        if not exact(row["similarity"]):
            row["similarity"] = []
        step = published(row, evidence[unit(row)])
        row |= {"published": step, "equal_compute": max(1, round(step * (1 - row["gamma"])))}


def exact(similarity: Sequence[float | None]) -> bool:
    """Tell whether a series has the digits that CS-Fluctuation looks at; the first runs kept five decimals."""
    return any(value is not None and round(value, DIGITS) != value for value in similarity)


def arms(study: str, setting: Setting) -> Sequence[ProtectionArm]:
    """Return the arms of a study on a family."""
    of_images, of_texts = ARMS[study]
    return of_images if setting.family == "emoji" else of_texts


def file_of(folder: Path, study: str, setting: Setting) -> Path:
    """Return where an experiment's results are kept until all are there."""
    return folder / "protection" / study / f"{setting.key.replace(' ', '_')}.json"


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.protection", description=__doc__)
    parser.add_argument("--families", nargs="+", choices=[*FAMILIES, "nano"], default=list(FAMILIES))
    parser.add_argument("--studies", nargs="+", choices=[*ARMS, "auto"], default=["means"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="one is a draw of references from each set")
    parser.add_argument("--sets", type=int, default=None, help="only the first so many sets of each family")
    parser.add_argument("--only", nargs="+", metavar="SET", help="only sets of these names")
    parser.add_argument("--work", type=Path, default=Path("benchmark-work"), help="where unfinished results are kept")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--gather", action="store_true", help="write all that is there to --results at the end")
    return parser.parse_args()


if __name__ == "__main__":
    main()
