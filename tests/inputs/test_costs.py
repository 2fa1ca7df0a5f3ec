"""What the worst files cost: at most 300 MB, and the time of so many sums, each measured in a process of its own."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
from PIL import Image

from tests.inputs.files import many_entries, overlapping, raw_png, with_chunk, zipped

ROOT = Path(__file__).parents[2]
MOST_SUMS, GROWTH_BYTES = 14.0, 300_000_000  # of five million squares each; the worst takes about 8
MARKS = "\u0301\u0316".encode()
MEASURE = """
import json, resource, sys
from pathlib import Path
from PIL import Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin
from core.uploads import reading
from core.errors import InvalidInput
from core.settings import Settings
def spent():
    # not ru_maxrss, which a process inherits from the one that started it
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime, peak * 1024
before = spent()
try:
    reading.read(Path(sys.argv[1]), "upload", Settings(data="/nonexistent"))
    answer = "taken"
except InvalidInput as error:
    answer = error.code
after = spent()
sum(n * n for n in range(5_000_000))
yardstick = spent()[0] - after[0]  # on this processor, as busy as it is
print(json.dumps([answer, after[0] - before[0], after[1] - before[1], yardstick]))
"""


def bomb() -> bytes:
    return zlib.compress(b"\0" * 100_000_000)


def rows(row: bytes, size: int = 19_900_000) -> bytes:
    return row * (size // len(row))


def photo(side: int, format: str, **options: object) -> bytes:
    """A picture as fine-grained as a camera's."""
    noise = numpy.random.default_rng(0).integers(0, 40, (side, side, 3), dtype=numpy.uint8)
    slope = numpy.linspace(0, 200, side, dtype=numpy.uint8)[:, None, None]
    buffer = io.BytesIO()
    Image.fromarray(noise + slope).save(buffer, format, **options)
    return buffer.getvalue()


WORST: dict[str, Callable[[], bytes]] = {
    "a photo of 12 megapixels": lambda: photo(3464, "JPEG", quality=85),
    "C59 50,000 x 50,000": lambda: raw_png(50_000, 50_000),
    "C63 100 MB of zTXt": lambda: with_chunk(b"zTXt", b"a\0\0" + bomb()),
    "C63 100 MB of iTXt": lambda: with_chunk(b"iTXt", b"a\0\1\0\0\0" + bomb()),
    "C63 100 MB of profile": lambda: with_chunk(b"iCCP", b"a\0\0" + bomb()),
    "C63 100 MB of pixels that are not there": lambda: raw_png(64, 64, data=b"\0" * 100_000_000),
    "C78 a million rows": lambda: rows(b'{"text": "a"}\n'),
    "C78 ten million paragraphs": lambda: rows(b"a\n\n"),
    "C78 ten million lines": lambda: rows(b"a\n"),
    "C78 20 MB of line ends": lambda: rows(b"\n"),
    "C78 20 MB of blanks and line ends": lambda: rows(b" \n\t \n  "),
    "C78 20 MB of { and line ends": lambda: b"{" + rows(b"\n"),
    "C78 one line of 20 MB": lambda: b'{"text": "' + rows(b"a") + b'"}',
    "C78 20 MB of words": lambda: rows("käse ".encode()),
    "C78 20 MB of combining marks": lambda: b"a" + rows(MARKS),
    "C78 20 MB of almost too many marks": lambda: rows(b"a" + MARKS * 15),
    "C78 20 MB of almost too many marks in lines": lambda: rows((b"a" + MARKS * 15) * 40 + b"\n\n"),
    "C78 20 MB of faces": lambda: rows("😺".encode()),
    "C78 10,000 deep rows": lambda: rows(b'{"text": ' + b"[" * 1900 + b"\n"),
    "C78 20 MB of escapes": lambda: rows((b"\x1b[2J" * 17_000) + b"\n\n"),
    "C78 20 MB of lone escapes": lambda: rows((b"\x1b" * 89_000) + b"\n\n"),
    "C78 20 MB of titles that are not closed": lambda: rows((b"\x1b]" * 44_000) + b"\n\n"),
    "C78 20 MB of Latin-1": lambda: rows("\x91".encode() * 80_000 + b"\n\n"),
    "C78 20 MB of pages": lambda: rows(b"\x0ca"),
    "C78 20 MB of backspaces": lambda: rows((b"a\x08" * 44_000) + b"\n\n"),
    "C78 20 MB of marks of direction": lambda: rows("א\u200e\n".encode() * 22_000 + b"\n\n"),
    "C78 20 MB of marks of direction in lines": lambda: rows("\u05d0\u202e\n\u202e\n".encode() * 45 + b"\n"),
    "C82 a row of 20 MB over lines": lambda: b'{"text": [\n' + rows(b"[],\n"),
    "C82 an array of 20 MB": lambda: b"[" + rows(b'{"text": "a"},') + b"{}]",
    "C82 an array that is not closed": lambda: b"[" + rows(b"{"),
    "C82 rows that begin and never end": lambda: rows(b'{"a":\n'),
    "C82 rows that begin and never end, and hold much": lambda: rows(b'{"a":[' + b"1," * 900 + b"\n"),
    "C82 quotes that are escaped": lambda: b'{"a": "' + rows(b'\\"'),
    "C82 rows in one line": lambda: rows(b'{"text":"a"}'),
    "C82 rows with commas": lambda: rows(b'{"text":"a"},\n'),
    "C82 comments": lambda: b'{"text":"a"}\n' + rows(b"#\n"),
    "C82 headings": lambda: rows(b"a\n", 100_000) + b'{"text":"a"}\n',
    "C82 strings": lambda: rows(b'"a"\n'),
    "C82 a table of a million rows": lambda: b"prompt,completion\n" + rows(b"a,b\n"),
    "C82 a table of one cell": lambda: b'prompt,completion\n"' + rows(b"a,b\n"),
    "C82 a table of many columns": lambda: b"prompt,completion" + rows(b",a"),
    "C82 rows that are left out": lambda: rows(b'{"text": "a", "weight": 0}\n'),
    "C82 keys that are empty": lambda: b"\n".join(
        b"{" + b"".join(b'"%d": "", ' % (15_000 * row + n) for n in range(12_000)) + b'"text": "%d"}' % row
        for row in range(110)
    ),
    "C82 lines with one key": lambda: rows(b'{"messages": [{"role": "user", "content": "a", "weight": 7}]}\n'),
    "C82 a table of short rows": lambda: zipped({"metadata.jsonl": rows(b"{}\n", 1_900_000)}),
    "C83 names of marks": lambda: zipped({"a" + MARKS.decode() * 15_000 + str(n): b"" for n in range(16)}),
    "C84 40 captions of 1 MB": lambda: zipped({f"{n}.txt": rows(b"a ", 1_100_000) for n in range(40)}),
    "C84 50 MB of nothing": lambda: zipped({"a.png": b"\0" * 50_000_000}, 8),
    "C84 a million entries": lambda: many_entries(1_000_000),
    "C84 four million entries": lambda: many_entries(4_000_000),
    "C84 400 entries over each other": lambda: overlapping(400),
}
SOONER = {  # the first of each kind, and those that were costly once
    "a photo of 12 megapixels",
    "C59 50,000 x 50,000",
    "C63 100 MB of zTXt",
    "C63 100 MB of pixels that are not there",
    "C78 a million rows",
    "C78 20 MB of almost too many marks in lines",
    "C78 10,000 deep rows",
    "C78 20 MB of escapes",
    "C82 an array that is not closed",
    "C82 keys that are empty",
    "C83 names of marks",
    "C84 50 MB of nothing",
    "C84 a million entries",
    "C84 400 entries over each other",
}


def cost(content: bytes, folder: Path) -> tuple[str, float, int]:
    path = folder / "upload"
    path.write_bytes(content)
    command = [sys.executable, "-c", MEASURE, path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    answer, seconds, growth, yardstick = json.loads(done.stdout)
    return answer, seconds / yardstick, growth


@pytest.mark.slow
@pytest.mark.parametrize(
    "what", [pytest.param(what, marks=() if what in SOONER else pytest.mark.long) for what in WORST]
)
def test_a_bad_file_costs_little(tmp_path: Path, what: str) -> None:
    answer, sums, growth = cost(WORST[what](), tmp_path)
    print(f"\n{what}: {answer}, {sums:.1f} sums, {growth / 1e6:.0f} MB")
    assert sums <= MOST_SUMS
    assert growth <= GROWTH_BYTES
