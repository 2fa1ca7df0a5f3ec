"""A trainer that was taken over is not believed: the log repeats none of its words, and it fills no memory."""

from __future__ import annotations

import json
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from core.runtime import logs
from core.runtime.printed import kept_output
from core.runtime.printed.known_code import KnownCode
from core.runtime.printed.output_log import About, OutputLog
from core.settings import Settings
from tests.conftest import until
from tests.worker.floor import Floor
from tests.worker.trainer import hostile_trainer
from worker.protocol import Message
from worker.trainer import process
from worker.trainer.sandbox import Cage

CANARY, SPELT = "canary51b0aa", "unheardcanary"  # one of letters alone, which a tokenizer that spells gives back whole


def hostile(floor: Floor, how: str) -> Floor:
    """Have the floor's jobs done by the hostile trainer."""
    place = floor.settings.data / "work/acct-1"
    place.mkdir(parents=True, exist_ok=True)
    floor.settings.__dict__["trainer"] = shlex.join([sys.executable, hostile_trainer.__file__, CANARY, str(place), how])
    return floor


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """What stands in the log, as it is written."""
    write = logs.JsonLines({"process": "worker"}).format
    return "\n".join(write(record) for record in caplog.records)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["nonsense", "bytes", "stage", "field", "deep", "long", "code"])
def test_nothing_that_it_says_comes_into_the_log(floor: Floor, how: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    job_id = hostile(floor, how).job()
    floor.supervise()
    floor.trainer.discard()
    job = floor.get(job_id)
    assert (job.state, job.retry_count) == (("FAILED", 0) if how == "code" else ("QUEUED", 1))
    text = logged(caplog)
    assert CANARY not in text
    assert how == "code" or "what is not a line of the protocol" in text
    assert "the trainer printed" in text


def test_what_waits_to_be_received_is_bounded_and_nothing_is_lost(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "MAX_WAITING", 10 * hostile_trainer.MESSAGE_CHARACTERS)
    trainer = hostile(floor, "many").warm_trainer()
    trainer.run(floor.settings.data / "work/acct-1/ftjob-1-e1")
    until(lambda: trainer._read_so_far > process.MAX_WAITING)
    received = 0
    while received < hostile_trainer.MESSAGES:
        assert trainer._read_so_far - trainer._received < 12 * hostile_trainer.MESSAGE_CHARACTERS
        received += isinstance(trainer.receive(1), Message)


def test_a_trainer_that_never_stops_talking_ends_its_job_before_it_fills_the_database(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "MAX_SAID", 10 * hostile_trainer.MESSAGE_CHARACTERS)
    job_id = hostile(floor, "many").job()
    floor.supervise()
    job = floor.get(job_id)
    assert (job.state, job.error_code) == ("FAILED", "internal_error")
    assert len([told for told in floor.events(job_id) if told.startswith("xxx")]) < 10


CUTTING = """
import sys
from diffusers import StableDiffusionPipeline
pipeline = StableDiffusionPipeline.from_pretrained(sys.argv[1])
pipeline.encode_prompt(sys.argv[2], "cpu", 1, False)
raise RuntimeError(sys.argv[2])
"""


@pytest.mark.slow
def test_what_a_library_quotes_of_a_prompt_is_counted(
    tiny_diffusion_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    words = " ".join(30 * [SPELT])
    command = [sys.executable, "-c", CUTTING, str(tiny_diffusion_folder), words]
    kept = kept_output.open_for(Settings(data=tmp_path, keep_trainer_output=True), "acct-1", "ftjob-1-e1")
    with subprocess.Popen(
        command, env=process.environment(Settings(), Cage(tmp_path)), stderr=subprocess.PIPE
    ) as library:
        assert library.stderr is not None
        output = OutputLog(library.stderr, "trainer", KnownCode(tmp_path))
        output.begin(About("ftjob-1", kept))
        library.wait()
        output.end(60)
    raw = (tmp_path / "trainer-output/acct-1/ftjob-1-e1.log").read_text()
    [warning] = [line for line in raw.splitlines() if "was truncated because CLIP can only handle" in line]
    assert SPELT in warning
    assert SPELT not in logged(caplog)
    assert "not repeated here" in logged(caplog)


@pytest.mark.parametrize("kept", [True, False])
def test_all_of_it_is_kept_where_the_operator_wants_that_and_only_there(
    floor: Floor, kept: bool, caplog: pytest.LogCaptureFixture
) -> None:
    floor.settings.__dict__["keep_trainer_output"] = kept
    job_id = hostile(floor, "nonsense").job()
    floor.supervise()
    folder = floor.settings.data / "trainer-output/acct-1"
    assert folder.exists() == kept
    if kept:
        file = folder / f"{job_id}-e1.log"
        assert file.read_text().count(CANARY) > 100
        assert [stat.S_IMODE(path.stat().st_mode) for path in (file, folder)] == [0o600, 0o700]
    assert CANARY not in logged(caplog)
    assert json.loads(logged(caplog).splitlines()[0])
