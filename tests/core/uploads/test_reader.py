"""Uploads are decoded where a decoder that goes wrong harms nobody."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
from PIL import Image

from core.disk import ROOT
from core.errors import InvalidInput, TooLarge, UnsupportedMedia
from core.references import packing
from core.runtime.printed import output_log
from core.runtime.printed.known_code import KnownCode
from core.runtime.printed.output_log import OutputLog
from core.settings import Settings
from core.uploads import reading as parsing
from core.uploads.reader import Facts, Reader

CANARY = "canary-8d1f"
OTHERS: set[int] = set()


@pytest.fixture
def reading(tmp_path: Path) -> Iterator[Callable[..., Reader]]:
    """Make readers with changed settings; they end with the test."""
    made: list[Reader] = []

    def make(**settings: int) -> Reader:
        made.append(Reader(Settings(data=tmp_path, **settings)))
        return made[-1]

    yield make
    for reader in made:
        reader.close()


def picture(side: int = 64, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.radial_gradient("L").resize((side, side)).save(buffer, format, **options)
    return buffer.getvalue()


@cache
def long() -> bytes:
    """Small files of large pictures, which are decoded for ten seconds and more."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(40):
            content = io.BytesIO()
            Image.new("L", (6000 + number, 6000)).save(content, "PNG", compress_level=1)
            archive.writestr(f"{number}.png", content.getvalue())
    return buffer.getvalue()


def ask(reader: Reader, folder: Path, content: bytes, name: str = "a.png") -> Facts:
    path = folder / f"upload-{threading.get_ident()}"
    path.write_bytes(content)
    return reader.read(path, name, path.with_suffix(".packed"))


def children(pid: int) -> set[int]:
    listed = Path(f"/proc/{pid}/task").glob("*/children")
    return {int(child) for path in listed for child in path.read_text().split()}


def decoding() -> set[int]:
    """The processes of core.uploads.decoder that this process has started."""
    found = set()
    for pid in children(os.getpid()):
        with suppress(FileNotFoundError, ProcessLookupError):
            if b"core.uploads.decoder" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.add(pid)
    return found


@pytest.fixture(autouse=True)
def others() -> Iterator[None]:
    """Pass over what tests of other files have started."""
    OTHERS.update(decoding())
    yield
    OTHERS.clear()


def server() -> int:
    """The process of core.uploads.decoder that this test has started, as soon as it has become that."""
    assert eventually(lambda: bool(decoding() - OTHERS))
    return max(decoding() - OTHERS)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def eventually(condition: Callable[[], object], seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.005)
    return False


def refusal(reader: Reader, folder: Path, content: bytes) -> str:
    with pytest.raises(InvalidInput) as caught:
        ask(reader, folder, content)
    assert caught.value.param == "file"
    return caught.value.code


def busy(pid: int) -> set[int]:
    """The children that have used a processor for a while: those that decode."""
    spent = {}
    for child in children(pid):
        try:
            spent[child] = sum(map(int, Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[11:13]))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return {child for child, ticks in spent.items() if ticks >= 10}


def signal_when_busy(number: signal.Signals) -> threading.Thread:
    """Signal the child that decodes, once it does; `core.uploads.decoder` must be running."""
    long()  # which takes seconds to make, and must not be waited for here

    def act() -> None:
        assert eventually(lambda: busy(server()))
        os.kill(busy(server()).pop(), number)

    thread = threading.Thread(target=act)
    thread.start()
    return thread


def test_what_is_read_elsewhere_is_what_would_be_read_here(reading: Callable[..., Reader], tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for format in ("PNG", "JPEG", "WEBP"):
            archive.writestr(f"{format}.bin", picture(64 + len(format), format))
            archive.writestr(f"{format}.txt", f"a {format} disc")
    settings = Settings(data=tmp_path)
    (tmp_path / "a.zip").write_bytes(buffer.getvalue())
    facts = reading().read(tmp_path / "a.zip", "a.zip", tmp_path / "there")
    here = parsing.read(tmp_path / "a.zip", "a.zip", settings)
    assert (facts.kind, facts.items) == (here.kind, len(here.items))
    assert facts.findings == [vars(finding) for finding in here.findings]
    packing.pack(here, tmp_path / "here")
    there = packing.read_packed(tmp_path / "there", "a.zip", settings)
    assert there == packing.read_packed(tmp_path / "here", "a.zip", settings)


@pytest.mark.parametrize(
    ("content", "kind", "code"),
    [
        (b"", InvalidInput, "empty"),
        (picture()[:-30], InvalidInput, "corrupt"),
        (b"\0" * 100, UnsupportedMedia, "unsupported_media"),
        (b" " * 3_000_000, TooLarge, "file_too_large"),
    ],
)
def test_a_refusal_comes_back_as_it_is(
    reading: Callable[..., Reader], tmp_path: Path, content: bytes, kind: type[InvalidInput], code: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        ask(reading(max_file_bytes=2_000_000), tmp_path, content)
    assert (type(caught.value), caught.value.code) == (kind, code)


@pytest.mark.slow
def test_a_decoder_that_is_killed_costs_its_upload_and_no_other(reading: Callable[..., Reader], tmp_path: Path) -> None:
    reader = reading()
    ask(reader, tmp_path, picture())
    first = server()
    killer = signal_when_busy(signal.SIGSEGV)
    assert refusal(reader, tmp_path, long()) == "unreadable"
    killer.join()
    assert ask(reader, tmp_path, picture()).items == 1
    assert server() == first


@pytest.mark.slow
def test_a_decoder_that_hangs_is_killed(reading: Callable[..., Reader], tmp_path: Path) -> None:
    reader = reading(reader_cpu_seconds=2)
    ask(reader, tmp_path, picture())
    stopper = signal_when_busy(signal.SIGSTOP)
    assert refusal(reader, tmp_path, long()) == "unreadable"
    stopper.join()
    assert eventually(lambda: len(children(server())) == 1), "only the one that waits for the next upload"


@pytest.mark.slow
def test_a_decoder_that_computes_for_too_long_is_killed(reading: Callable[..., Reader], tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="fewer pictures or texts at once") as caught:
        ask(reading(reader_cpu_seconds=1, max_file_bytes=10**9), tmp_path, long())
    assert caught.value.code == "unreadable"


def largest() -> bytes:
    """A picture of as many pixels as are taken, in the format whose decoder needs most memory."""
    buffer = io.BytesIO()
    Image.radial_gradient("L").resize((8000, 5000)).convert("RGBA").save(buffer, "WEBP", method=0)
    return buffer.getvalue()


def test_a_picture_that_takes_more_memory_than_there_is_is_unreadable(
    reading: Callable[..., Reader], tmp_path: Path
) -> None:
    reader = reading(reader_memory_bytes=500_000_000)
    assert refusal(reader, tmp_path, largest()) == "unreadable"
    assert ask(reader, tmp_path, picture()).items == 1


def test_the_largest_picture_that_is_taken_fits_the_memory_of_a_decoder(
    reading: Callable[..., Reader], tmp_path: Path
) -> None:
    reader, settings = reading(), Settings(data=tmp_path)
    assert ask(reader, tmp_path, largest(), "large.webp").items == 1
    packed = next(tmp_path.glob("*.packed"))
    assert packing.read_packed(packed, "large.webp", settings).items[0].width == 8000  # type: ignore[union-attr]


def test_pictures_that_grow_too_large_as_png_are_refused(reading: Callable[..., Reader], tmp_path: Path) -> None:
    noise = Image.effect_noise((1000, 1000), 90).convert("RGB")
    buffer = io.BytesIO()
    noise.save(buffer, "JPEG", quality=20)
    assert refusal(reading(max_file_bytes=500_000), tmp_path, buffer.getvalue()) == "file_too_large"


def test_the_process_comes_back_when_it_is_killed(reading: Callable[..., Reader], tmp_path: Path) -> None:
    reader = reading()
    ask(reader, tmp_path, picture())
    first = server()
    os.kill(first, signal.SIGKILL)
    assert ask(reader, tmp_path, picture()).items == 1
    assert server() != first


def test_an_upload_is_read_again_when_the_process_dies_under_it(reading: Callable[..., Reader], tmp_path: Path) -> None:
    reader = reading()
    ask(reader, tmp_path, picture())
    first = server()

    def act() -> None:
        assert eventually(lambda: busy(first))
        os.kill(first, signal.SIGKILL)

    killer = threading.Thread(target=act)
    killer.start()
    assert ask(reader, tmp_path, largest()).items == 1
    killer.join()
    assert server() != first


def test_no_secret_and_no_connection_is_in_the_process_or_its_children(
    reading: Callable[..., Reader], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DATABASE_URL", "S3_SECRET_KEY", "SIGNING_SECRET", "BROKER_URL"):
        monkeypatch.setenv(f"ALBATROSS_{name}", f"redis://{CANARY * 4}")
    reader = reading()
    ask(reader, tmp_path, picture())
    there = server()
    assert eventually(lambda: len(children(there)) == 1)
    for pid in (there, *children(there)):
        assert CANARY.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
        assert CANARY.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
        opened = {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir() if int(path.name) > 2}
        assert all(target.startswith("socket:") for target in opened)
        assert len(opened) == (2 if pid == there else 1), "the socket to its parent, and the one to its child"


def test_the_process_dies_with_whoever_started_it(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; "
        "from core.uploads.reader import Reader; from core.settings import Settings; "
        "Reader(Settings(data=Path(sys.argv[1]))).start(); print('started', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        assert eventually(lambda: any(children(child) for child in children(parent.pid)))
        there = next(iter(children(parent.pid)))
        family = {there, *children(there)}
        parent.kill()
    assert eventually(lambda: all(map(gone, family)))


def test_what_a_decoder_prints_is_judged_like_a_trainers_words(
    reading: Callable[..., Reader], tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    path = tmp_path / CANARY
    cut = b"Exif\0\0II*\0\x08\0\0\0\x05\0" + CANARY.encode()  # of which Pillow warns
    path.write_bytes(picture(format="JPEG", exif=cut))
    reader = reading()
    assert reader.read(path, f"{CANARY}.jpg", tmp_path / "packed").items == 1
    reader.close()
    [record] = [record for record in caplog.records if record.name == output_log.__name__]
    assert re.fullmatch(
        r"the decoder says:\nUserWarning at \S+/PIL/\w+\.py:\d+\n    warnings\.warn\(.*\)", record.getMessage()
    )
    assert capfd.readouterr() == ("", "")


def test_a_decoder_that_fails_tells_where(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    program = f"from core.uploads import decoder\ntry: int({CANARY!r})\nexcept ValueError as e: decoder._log_error(e)"
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        output = OutputLog(process.stderr, "decoder", KnownCode(tmp_path))
        process.wait()
        output.end(60)
    assert "an upload was not read\n" in caplog.text
    assert caplog.text.endswith("builtins.ValueError\n")
    assert CANARY not in caplog.text


def test_the_one_who_asks_loads_no_decoder() -> None:
    program = "import sys, api.app; print('PIL' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
