"""What a line of the log holds, and that nobody's words can come into it by an error or begin a line of their own."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from core.disk import ROOT
from core.errors import InvalidInput
from core.runtime import logs

CANARY = "ca\u00f1ary"


def line(message: str = "it happened", *, error: BaseException | None = None, **extra: str) -> logging.LogRecord:
    information = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord("core.test", logging.WARNING, "", 0, message, None, information)
    vars(record).update(extra)
    return record


def as_json(record: logging.LogRecord) -> dict[str, str]:
    written = logs.JsonLines({"process": "api"}).format(record)
    assert "\n" not in written
    return json.loads(written)


def as_text(record: logging.LogRecord) -> list[str]:
    return logs.TextLines({"process": "api"}).format(record).split("\n")


def test_a_line_names_time_level_process_and_what_it_is_about() -> None:
    with logs.bound(request="req_1"), logs.bound(job="ftjob-1"):
        found = as_json(line(worker="host:1"))
    assert found.pop("time").endswith("+00:00")
    assert found == {
        "level": "warning",
        "process": "api",
        "logger": "core.test",
        "message": "it happened",
        "request": "req_1",
        "job": "ftjob-1",
        "worker": "host:1",
    }
    assert "request" not in as_json(line())


def test_other_threads_do_not_inherit_what_is_bound() -> None:
    found: list[dict[str, str]] = []
    with logs.bound(job="ftjob-1"):
        thread = threading.Thread(target=lambda: found.append(as_json(line())))
        thread.start()
        thread.join()
    assert "job" not in found[0]


@pytest.mark.parametrize("separator", ["\n", "\r", "\r\n", "\x0b", "\x1b[2K", "\x85", "\u2028", "\ud800", "\0"])
def test_a_message_can_not_forge_a_line(separator: str) -> None:
    forged = f"a{separator}12:00:00 ERROR api: forged"
    assert as_json(line(forged))["message"] == forged
    first, *others = as_text(line(forged))
    assert first.split(" ", 1)[1].startswith("WARNING api: a")
    assert all(other.startswith("    ") for other in others)
    assert logs.CONTROL.search("".join([first, *others])) is None


class Form(BaseModel):
    age: int


def faults(database: sessionmaker[Session]) -> list[BaseException]:
    def query() -> None:
        with database() as session:
            session.execute(text("SELECT * FROM nothing WHERE a = :a"), {"a": CANARY})

    def twice() -> None:
        with database() as session:
            for _ in range(2):
                session.execute(text("INSERT INTO account (id, name, created_at) VALUES (:i, 'x', 1)"), {"i": CANARY})

    actions = [
        query,
        twice,
        lambda: Form.model_validate({"age": CANARY}),
        lambda: int(CANARY),
        lambda: {}[CANARY],
        lambda: Path(CANARY).read_text(),
        lambda: json.loads(CANARY),
        lambda: CANARY.encode("ascii"),
    ]
    found: list[BaseException] = [ExceptionGroup(CANARY, [ValueError(CANARY)])]
    for action in actions:
        try:
            action()
        except Exception as error:
            found.append(error)
    assert len(found) == len(actions) + 1
    return found


@pytest.mark.slow
def test_no_error_shows_what_it_was_given(database: sessionmaker[Session]) -> None:
    for fault in faults(database):
        try:
            try:
                raise fault
            except Exception as error:
                raise InvalidInput(f"about {CANARY}", code="invalid_line") from error
        except InvalidInput as outer:
            shown = logs.traceback_of(outer)
        assert CANARY not in shown, type(fault)
        assert "ary" not in shown, type(fault)
        assert type(fault).__name__ in shown
        assert "core.errors.InvalidInput: invalid_line" in shown
        assert "test_logs.py" in shown


def test_errors_of_code_and_of_machines_keep_their_words() -> None:
    refused = ClientError({"Error": {"Code": "AccessDenied", "Message": CANARY}}, "PutObject")
    assert logs.traceback_of(refused).endswith("ClientError: AccessDenied")
    assert logs.traceback_of(RuntimeError("CUDA error")).endswith("RuntimeError: CUDA error")
    assert logs.traceback_of(OSError(28, "No space left", CANARY)).endswith("OSError: No space left on device")


def test_an_error_of_code_does_not_quote_the_values_that_it_met() -> None:
    def keyword(**_: object) -> None:
        raise RuntimeError(f"about '{CANARY}' and \"{CANARY}\"")

    class Own(RuntimeError):
        pass

    faults = [
        lambda: (lambda: None)(**{CANARY: 1}),
        lambda: keyword(**{CANARY: 1}),
        lambda: getattr([], CANARY),
        lambda: (_ for _ in ()).throw(Own(CANARY)),
        lambda: (_ for _ in ()).throw(InvalidInput("no", code=CANARY)),
        lambda: (_ for _ in ()).throw(OSError(2, CANARY, CANARY)),
    ]
    for fault in faults:
        with pytest.raises(Exception) as caught:  # noqa: PT011
            fault()
        assert "ary" not in logs.traceback_of(caught.value).splitlines()[-1]
    assert logs.traceback_of(AttributeError("'NoneType' object has no attribute 'x'")).endswith(
        "AttributeError: 'NoneType' object has no attribute '...'"
    )


def foreign(message: object, *values: object, **extra: object) -> dict[str, str]:
    record = logging.LogRecord("botocore.client", logging.WARNING, __file__, 7, message, values, None)
    vars(record).update(extra)
    return as_json(record)


def test_of_a_librarys_line_only_what_its_author_wrote_is_repeated_and_numbers() -> None:
    assert foreign("%s of %d at %.1f s: %r", CANARY, 3, 1.25, [CANARY])["message"] == "... of 3 at 1.2 s: ..."
    assert foreign("lost %s", ConnectionError(CANARY))["message"] == "lost ConnectionError"
    assert foreign("%(a)s and %(b)d", {"a": CANARY, "b": 2})["message"] == "... and 2"
    assert foreign("%d that is none", CANARY)["message"] == "%d that is none"
    assert foreign("what stands in the code")["message"] == "what stands in the code"
    for built in (f"built of {CANARY}", ValueError(CANARY), CANARY + "%s"):
        assert foreign(built)["message"] == "a message that is not repeated here, of test_logs:7"
    assert "job" not in foreign("what stands in the code", job=CANARY)


PROGRAM = """
import logging, threading, warnings
from core.runtime import logs
from core.settings import Settings
logs.configure(Settings(), "dispatcher", worker="host:1")
logging.getLogger("core.x").info("ours")
logging.getLogger("botocore").info("theirs")
logging.getLogger("core.x").info("%d", "a canary")
warnings.warn("a canary")
logging.getLogger("botocore").warning("a canary" + " in it")
thread = threading.Thread(target=int, args=("a canary",))
thread.start()
thread.join()
raise ValueError("a canary")
"""


def test_a_process_logs_its_own_lines_warnings_and_its_end() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=90)
    assert ended.returncode == 1
    lines = [json.loads(row) for row in ended.stderr.splitlines()]
    assert [row["level"] for row in lines] == ["info", "warning", "warning", "critical", "critical"]
    assert lines[1]["message"] == "UserWarning of <string>:9"
    assert {row["process"] for row in lines} == {"dispatcher"}
    assert all("ValueError" in row["traceback"] for row in lines[3:])
    assert "canary" not in ended.stderr.replace('raise ValueError(\\"a canary\\")', "")


def test_settings_that_can_not_work_do_not_show_the_others() -> None:
    variables = {
        "ALBATROSS_HEARTBEAT_SECONDS": "50",
        "ALBATROSS_S3_SECRET_KEY": "canary",
        "PYTHONPATH": str(ROOT),
        "ALBATROSS_DATABASE_URL": "postgresql://u:canary@h/d",
    }
    ended = subprocess.run(
        [sys.executable, "-m", "api.cli", "serve"], cwd=ROOT, env=variables, capture_output=True, text=True, timeout=90
    )
    assert ended.returncode == 2
    assert "heartbeat_seconds must be at most half" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert "canary" not in ended.stderr
