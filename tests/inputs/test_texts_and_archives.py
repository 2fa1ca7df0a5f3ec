"""C77 to C84: captions, JSONL and plain text, and the archives that they come in."""

from __future__ import annotations

import json
import zipfile

import pytest

from core.text_safety import UNCLEAN
from tests.api.server import chats, png
from tests.inputs.catalogue import FILES, Case, Scene, job, table, upload
from tests.inputs.files import changed, many_entries, overlapping, special, zipped

LINE = b'{"text": "a"}\n'
CAPTIONS = {"0.png": png()} | {f"{n}/0.txt": b"cat " * 500_000 for n in range(20)}
MARKS = ("a" + "\u0301\u0316" * 1000).encode()


def captioned(caption: bytes) -> bytes:
    return zipped({"a.png": png(), "a.txt": caption})


def bad(number: str, what: str, content: bytes, code: str, status: int = 400) -> Case:
    return Case(number, what, upload(content), status, code)


def line(what: str, row: bytes) -> Case:
    return bad("C82", what, LINE * 3 + row + b"\n" + LINE, "invalid_line")


TEXTS = [
    bad("C77", "a caption in UTF-16 without its mark", captioned("a cat".encode("utf-16-le")), "encoding"),
    bad("C77", "a caption in Latin-1", captioned("Käse".encode("latin-1")), "encoding"),
    bad("C77", "a text in UTF-16 without its mark", "hello there".encode("utf-16-le"), "encoding"),
    bad("C77", "a text that ends in UTF-16", b"\xff\xfe" + b"a\0" * 9 + b"b", "encoding"),
    bad("C77", "a text in Latin-1", "Käse und Brot".encode("latin-1"), "encoding"),
    bad("C78", "a caption of 1 MB", captioned(b"cat " * 250_000), "caption_too_long"),
    bad("C78", "a caption of 3 MB", captioned(b"cat " * 750_000), "text_too_large"),
    bad("C78", "20 captions of 2 MB", zipped(CAPTIONS), "caption_too_long"),
    bad("C78", "a table of 3 MB", zipped({"a.png": png(), "metadata.jsonl": b"{}\n" * 1_000_000}), "text_too_large"),
    bad("C78", "a million lines", LINE * 1_000_000, "too_many_items"),
    bad("C78", "ten million paragraphs", b"a\n\n" * 6_600_000, "too_many_items"),
    bad("C78", "20 MB of line ends", b"\n" * 20_000_000, "no_items"),
    bad("C78", "20 MB of line ends after a line", b"{" + b"\n" * 19_000_000, "invalid_line"),
    bad("C78", "one line of 20 MB", b'{"text": "' + b"a" * 19_000_000 + b'"}', "line_too_long"),
    bad("C78", "one paragraph of 20 MB", b"a " * 9_900_000, "text_too_long"),
    bad("C78", "a text of 21 MB", b"a " * 10_500_000, "file_too_large"),
    bad("C78", "2,000 combining marks", MARKS, "encoding"),
    bad("C78", "20 MB of combining marks", MARKS * 4900, "text_too_long"),
    bad("C78", "20 MB of escapes", b"\x1b[2J" * 4_900_000, "text_too_long"),
    bad("C78", "10,000 bad lines", b'{"text": 1}\n' * 10_000, "invalid_line"),
    bad("C78", "an array of 20 MB that is not closed", b"[" + b'{"text": "a"},' * 1_300_000, "too_many_items"),
    bad("C78", "a table of a million rows", b"prompt,completion\n" + b"a,b\n" * 1_000_000, "too_many_items"),
    line("a cut line", b'{"text": "b"'),
    line("a number that is none", b'{"text": NaN}'),
    line("100,000 levels", b'{"text": ' + b"[" * 100_000),
    line("a lone surrogate", b'{"text": "\\ud800"}'),
    line("a null character", b'{"text": "a\\u0000b"}'),
    line("a key twice", b'{"text": "a", "text": "b"}'),
    line("another shape", b'{"question": "do-not-repeat-me"}'),
    line("a role that is a list", b'{"messages": [{"role": [], "content": "a"}]}'),
    line("a role that is an object", b'{"messages": [{"role": {}, "content": "a"}]}'),
    line("an integer of 5,000 digits", b'{"text": ' + b"9" * 5000 + b"}"),
    line("combining marks", b'{"text": "a' + rb"\u0301\u0316" * 1000 + b'"}'),
    bad(
        "C82",
        "a table with a list for a name",
        zipped({"metadata.jsonl": b'{"file_name": [], "text": "a"}'}),
        "invalid_line",
    ),
    bad(
        "C82",
        "a table with a number for a text",
        zipped({"metadata.jsonl": b'{"file_name": "a.png", "text": 7}'}),
        "invalid_line",
    ),
]


@pytest.mark.slow
@table(TEXTS)
def test_texts_that_are_refused(scene: Scene, case: Case) -> None:
    case.check(scene)


def test_c82_the_bad_line_of_10_000_is_named(scene: Scene) -> None:
    lines = chats(10_000).split(b"\n")
    lines[6_999] = b'{"messages": [{"role": "do-not-repeat-me"}]}'
    answer = bad("C82", "one bad line of 10,000", b"\n".join(lines), "invalid_line").check(scene)
    assert b"Line 7000 " in answer.body


@pytest.mark.parametrize(
    "text", ["cat\n[INFO] admin logged in", "{{7*7}}", "<script>alert(1)</script>", "'; DROP TABLE job; --", "=cmd()"]
)
@pytest.mark.parametrize("start", ["", "\ufeff"], ids=["", "after a byte order mark"])
def test_c80_text_that_looks_dangerous_is_only_text(scene: Scene, text: str, start: str) -> None:
    file = Case("C80", text, upload((start + json.dumps({"text": text})).encode()), 200).check(scene).json()
    assert json.loads(scene.send("GET", f"{FILES}/{file['id']}/content").body) == {"text": text}


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("cat \x1b[2J", "cat"),
        ("cat \u202e", "cat"),
        ("\x1b]0;title\x07\x1b[31mcat\x9b2J\x08", "cat"),
        ("\u2066cat\u2069 \u200f\u202dtac\u202c\x7f", "cat tac"),
    ],
)
@pytest.mark.parametrize("form", ["{}", '{{"text": {}}}', "text,weight\n{},1\n"], ids=["plain", "JSONL", "CSV"])
def test_c79_what_a_terminal_would_obey_is_taken_out_and_never_said_again(
    scene: Scene, text: str, plain: str, form: str
) -> None:
    content = form.format(json.dumps(text) if "{{" in form else text)
    answer = Case("C79", text, upload(content.encode(), "texts.csv" if "," in form else "texts"), 200).check(scene)
    assert "cleaned_text" in {finding["code"] for finding in answer.json()["bat"]["findings"]}
    stored = scene.send("GET", f"{FILES}/{answer.json()['id']}/content").body
    assert json.loads(stored)["text"].strip() == plain
    assert UNCLEAN.search(answer.body.decode() + stored.decode()) is None


@pytest.mark.parametrize(
    "caption",
    [b"cat \x1b[2J", "cat \u202e".encode(), "\ufeffcat\x07\r\n".encode("utf-16-le"), "\u202bcat\u202c\x85".encode()],
)
def test_c79_captions_are_cleaned_too(scene: Scene, caption: bytes) -> None:
    answer = Case("C79", "a caption that clears the screen", upload(captioned(caption)), 200).check(scene)
    assert "cleaned_text" in {finding["code"] for finding in answer.json()["bat"]["findings"]}
    [item] = scene.send("GET", f"{FILES}/{answer.json()['id']}/items").json()["data"]
    assert item["caption"] == "cat"
    assert UNCLEAN.search(answer.body.decode()) is None


TRIGGERS = [
    Case("C81", "a text that reads backwards", job(bat={"trigger": "a\u202eb"}), 400, "invalid_json"),
    *(
        Case("C81", what, job(bat={"trigger": trigger}), 400, "invalid_parameter")
        for what, trigger in {
            "an empty trigger": "",
            "500 characters": "x" * 500,
            "only spaces": "   ",
            "a space at its end": "cat ",
            "two lines": "a\nb",
            "nothing that can be seen": "\u200b",
        }.items()
    ),
]


@table(TRIGGERS)
def test_triggers_that_are_no_words(scene: Scene, case: Case) -> None:
    case.check(scene)


def entry(name: str) -> bytes:
    return zipped({name: png()})


ONE = entry("a.png")
ARCHIVES = [
    bad("C83", "a path out of the archive", entry("../x.png"), "unsafe_path"),
    bad("C83", "the same with backslashes", entry("..\\x.png"), "unsafe_path"),
    bad("C83", "an absolute path", entry("/etc/x.png"), "unsafe_path"),
    bad("C83", "a drive", entry("C:x.png"), "unsafe_path"),
    bad("C83", "a link", special(0o120777), "special_file"),
    bad("C83", "a device", special(0o020666), "special_file"),
    bad("C83", "a pipe", special(0o010666), "special_file"),
    bad("C83", "a password", changed(ONE, 8, b"\x01"), "encrypted"),
    bad("C83", "an archive in an archive", zipped({"x.zip": ONE}), "nested_archive"),
    bad("C83", "names that differ in case", zipped({"a.png": png(), "A.png": png(1)}), "duplicate_name"),
    bad("C83", "an entry without a name", many_entries(1, b""), "bad_name"),
    bad("C83", "an entry that is called .", entry("."), "bad_name"),
    Case("C83", "a name of 60,000 characters", upload(entry("x" * 60_000)), 400, "bad_name", named=True),
    Case("C83", "a name of combining marks", upload(entry("a" + "\u0301\u0316" * 15_000)), 400, "bad_name", named=True),
    bad(
        "C83",
        "a name that is not UTF-8",
        changed(changed(entry("é.png"), 46, b"\xff\xff"), 8, b"\0\x08"),
        "corrupt_archive",
    ),
    bad("C83", "a packing that inflates without bounds", zipped({"a.png": png()}, zipfile.ZIP_LZMA), "corrupt_archive"),
    bad("C83", "a cut archive", ONE[:-30], "corrupt_archive"),
    bad("C83", "an archive whose directory lies elsewhere", ONE[:-6] + b"\xff\xff\xff\x7f\0\0", "corrupt_archive"),
    bad("C83", "an archive of nothing", zipped({}), "no_items"),
    bad("C83", "an archive of empty captions", zipped({"a.txt": b"\n"}), "no_items"),
    bad("C84", "50 MB of nothing", zipped({"a.png": b"\0" * 50_000_000}, zipfile.ZIP_DEFLATED), "zip_bomb"),
    bad("C84", "16 MB of nothing in full", zipped({"a.png": b"\0" * 16_000_000}), "entry_too_large"),
    bad("C84", "500 entries", zipped({f"{n}.txt": b"" for n in range(500)}), "too_many_entries"),
    bad("C84", "a million entries", many_entries(1_000_000), "too_many_entries"),
    bad("C84", "50 entries over each other", overlapping(50), "zip_bomb"),
]


@pytest.mark.slow
@table(ARCHIVES)
def test_archives_that_are_refused(scene: Scene, case: Case) -> None:
    case.check(scene)


def test_c83_a_strange_name_in_an_archive_is_only_a_label(scene: Scene) -> None:
    send = upload(zipped({"set\x1b[2J\u202e/cat\x1b[2J\u202e.gif": b"GIF89a"}))
    answer = Case("C83", "an entry that clears the screen", send, 400, "not_an_image").check(scene)
    assert b"set[2J/cat[2J.gif looks like a GIF; " in answer.body
