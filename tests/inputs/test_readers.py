"""C76 and all like it: the readers of untrusted bytes take them or refuse them, whatever they are; nothing else."""

from __future__ import annotations

import json
import time
from collections import Counter
from random import Random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from api.http.multipart import UPLOAD, Layout
from core import text_safety
from core.text_safety import visible_name
from tests.inputs.mutation import NASTY, SAMPLES, mutate
from tests.inputs.readers import Reader, file_reader, form_reader, json_reader
from tests.inputs.wire import ending, form, part

CPU_SECONDS = 2.0
fast = settings(max_examples=200, suppress_health_check=list(HealthCheck))
seeds = st.integers(0, 2**32 - 1)
SEVERAL = Layout({"sha256": 100, "caption": 200}, most_files=3)
names = st.text() | st.sampled_from(NASTY).map(lambda nasty: nasty.decode("latin-1"))
fields = names | st.sampled_from(["file", "caption", "sha256"])


@pytest.fixture(scope="module")
def read_file() -> Reader:
    with file_reader() as reader:
        yield reader


@pytest.fixture(scope="module")
def read_json() -> Reader:
    with json_reader() as reader:
        yield reader


@fast
@given(sample=st.sampled_from(sorted(SAMPLES)), seed=seeds)
def test_a_damaged_file_is_taken_or_refused(read_file: Reader, sample: str, seed: int) -> None:
    read_file(mutate(SAMPLES[sample], Random(seed)))


@fast
@given(content=st.binary(max_size=2_000))
@example(b"PK\x05\x06" + b"\0" * 18)
def test_a_file_of_noise_is_taken_or_refused(read_file: Reader, content: bytes) -> None:
    read_file(content)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", [], {}, 7, None]), "content": st.text()}
)
rows = st.one_of(
    st.fixed_dictionaries({"text": st.text()}),
    st.fixed_dictionaries({"prompt": st.text(), "completion": st.text() | st.none()}),
    st.fixed_dictionaries({"messages": st.lists(messages, max_size=4)}),
    st.dictionaries(st.sampled_from(["text", "prompt", "messages", "weight"]), st.none() | st.integers() | st.text()),
    st.dictionaries(st.sampled_from(["instruction", "input", "output", "system", "train", "id"]), st.text() | anything),
)


@pytest.mark.slow
@fast
@given(lines=st.lists(rows, max_size=8), ascii_only=st.booleans())
def test_rows_are_taken_or_refused(read_file: Reader, lines: list[object], ascii_only: bool) -> None:
    text = "\n".join(json.dumps(line, ensure_ascii=ascii_only) for line in lines)
    read_file(text.encode("utf-8", "surrogatepass"))


@fast
@given(
    text=st.text(
        st.sampled_from(' \n\t\r\ufeff\u2028\u0301\u0316\u0f73ab\x85\0{[<\x0c\x1b[m\x08_\u202e\u202c\u05d0,|-:"'),
        max_size=400,
    )
)
def test_plain_text_is_taken_or_refused(read_file: Reader, text: str) -> None:
    read_file(text.encode())


@pytest.mark.slow
@fast
@given(value=anything, seed=seeds, damaged=st.booleans())
def test_json_is_taken_or_refused(read_json: Reader, value: object, seed: int, damaged: bool) -> None:
    body = json.dumps(value, ensure_ascii=bool(seed % 2)).encode("utf-8", "surrogatepass")
    read_json(mutate(body, Random(seed)) if damaged else body)


@pytest.mark.slow
@fast
@given(
    parts=st.lists(st.tuples(fields, st.binary(max_size=300), st.none() | names), max_size=10),
    cut=st.floats(0, 1),
    layout=st.sampled_from([UPLOAD, SEVERAL]),
)
def test_a_form_is_taken_or_refused(parts: list[tuple[str, bytes, str | None]], cut: float, layout: Layout) -> None:
    written = [
        part(name.encode("utf-8", "replace").decode(), content, file and file.encode("utf-8", "replace"))
        for name, content, file in parts
    ]
    whole = b"".join([*written, ending()])
    with form_reader(piece=7, layout=layout) as reader:
        reader(whole[: int(len(whole) * cut)] if cut < 0.5 else whole)


@pytest.mark.slow
@fast
@given(seed=seeds, name=names, piece=st.sampled_from([1, 7, 1000]))
def test_a_damaged_form_is_taken_or_refused(seed: int, name: str, piece: int) -> None:
    whole = form(SAMPLES["text"], name.encode("utf-8", "replace"))
    with form_reader(piece=piece) as reader:
        reader(mutate(whole, Random(seed)))


@pytest.mark.slow
@fast
@given(kind=st.text() | st.text().map(lambda text: f"multipart/form-data; boundary={text}"))
def test_a_form_of_any_type_is_taken_or_refused(kind: str) -> None:
    with form_reader(kind) as reader:
        reader(form(b"hello"))


@fast
@given(name=names)
def test_a_name_is_short_and_visible_whatever_it_was(name: str) -> None:
    for shown in (text_safety.display_name(name), visible_name(name)):
        assert 0 < len(shown) <= 100
        assert not {"/", "\\", "\n", "\0"} & set(shown)
        assert text_safety.UNCLEAN.search(shown) is None


@pytest.mark.slow
def test_c76_files_are_damaged_for_as_long_as_asked(fuzz_seconds: float, fuzz_seed: int, read_file: Reader) -> None:
    with form_reader() as read_form, json_reader() as read_json:
        readers = {"file": read_file, "form": read_form, "JSON": read_json}
        counted: Counter[str] = Counter()
        deadline, number = time.monotonic() + fuzz_seconds, 0
        while time.monotonic() < deadline:
            number += 1
            random = Random(f"{fuzz_seed} {number}")
            name = random.choice(["file"] * 8 + ["form", "JSON"])
            content = SAMPLES["request"] if name == "JSON" else random.choice(list(SAMPLES.values()))
            damaged = mutate(form(content[:5_000]) if name == "form" else content, random)
            began = time.thread_time()
            taken = readers[name](damaged)
            assert time.thread_time() - began < CPU_SECONDS, f"case {number} of seed {fuzz_seed}"
            counted[f"{name} {'taken' if taken else 'refused'}"] += 1
    print(f"\n{number} files with seed {fuzz_seed}: {dict(counted)}")
    assert counted["file taken"]
    assert counted["file refused"]
