from __future__ import annotations

from pathlib import Path

import pytest

from core.backbones.chat_template import ChatFacts
from core.database.tables import File, Job
from core.errors import JobFailure, TransientFailure
from core.parameters.summary import summarise
from core.references.captions import caption_of, captioned, without, without_end
from core.references.items import ImageItem, References, TextItem
from core.settings import Settings
from core.storage.interface import Storage
from tests.core.parameters.test_resolving import EMOJI, TEXT, settled
from worker.device import device
from worker.supervision.inputs import caption_references, fetch_references, resolve_parameters, writable


@pytest.mark.parametrize(
    ("words", "caption"),
    [
        ("cat face", "emoji of cat face, sks"),
        ("emoji of cat face", "emoji of cat face, sks"),
        ("A cat on a mat.", "emoji of A cat on a mat, sks"),
        ("emoji of SKS cat face", "emoji of SKS cat face"),
        (" , ", "emoji of sks"),
        ("a sks cat", "emoji of a sks cat"),
        ("", "emoji of sks"),
    ],
)
def test_a_caption_gets_the_prefix_and_at_its_end_the_trigger_once(words: str, caption: str) -> None:
    assert caption_of(words, "emoji of ", "sks") == caption
    assert caption_of(caption, "emoji of ", "sks") == caption


@pytest.mark.parametrize(
    ("caption", "plain"),
    [
        ("emoji of cat face, sks", "emoji of cat face"),
        ("SKS cat face", "cat face"),
        ("a cat, sks, on a mat", "a cat, on a mat"),
        ("sks", ""),
        ("a sksy cat", "a sksy cat"),
    ],
)
def test_a_caption_without_its_trigger_is_the_rest_of_it(caption: str, plain: str) -> None:
    assert without(caption, "sks") == plain


@pytest.mark.parametrize(
    ("caption", "plain"),
    [("cat, sks", "cat"), ("cat SKS.", "cat"), ("sks cat", "sks cat"), ("cat desks", "cat desks"), ("sks", "")],
)
def test_only_a_trigger_that_ends_a_caption_is_taken_from_its_end(caption: str, plain: str) -> None:
    assert without_end(caption, "sks") == plain
    assert without_end(caption, None) == caption


def test_images_get_the_trigger_they_are_captioned_with_and_none_where_there_is_none(tmp_path: Path) -> None:
    record = TEXT.model_copy(update={"family": "sd1", "trigger_hint": "sks"})
    given = References("images", (ImageItem("1.png", None, b"", 8, 8, ""), ImageItem("2.png", "a dog", b"", 8, 8, "")))
    assert [item.caption for item in captioned(given, record, "zwx").items] == ["zwx", "a dog, zwx"]
    assert [item.caption for item in captioned(given, record, "zwx", add_trigger=False).items] == ["zwx", "a dog"]
    assert [item.caption for item in captioned(given, record, None).items] == ["", "a dog"]


def test_captions_are_taken_as_the_job_says(tmp_path: Path) -> None:
    given = References("images", tuple(ImageItem(f"{n}.png", "a cat\ncat", b"", 8, 8, f"{n}") for n in range(2)))
    wanted = {"draw": "a cat, zwx\ncat, zwx", "join": "a cat cat, zwx", "first": "a cat, zwx"}
    for how, caption in wanted.items():
        parameters = settled({"caption_lines": how, "trigger": "zwx"}, summary=summarise(given))
        assert {item.caption for item in caption_references(given, EMOJI, parameters).items} == {caption}


def test_prompts_are_what_the_texts_answer_to() -> None:
    chat = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who?"})
    given = References(
        "texts", (TextItem(messages=chat), TextItem(prompt="Where?", completion="West."), TextItem(text="x"))
    )
    assert summarise(given).prompts == ("Who?", "Where?")


def test_a_named_device_is_taken_at_its_word(tmp_path: Path) -> None:
    assert device(Settings(data=tmp_path, device="cuda")) == "cuda"
    assert device(Settings(data=tmp_path, device="cpu")) == "cpu"


@pytest.mark.parametrize("broken", ["presets/logo.toml", "taggers.json"])
def test_what_the_operator_has_to_mend_fails_no_job_for_good(tmp_path: Path, broken: str) -> None:
    settings = Settings(data=tmp_path, device="cpu")
    (tmp_path / "presets").mkdir()
    given = References("texts", tuple(TextItem(text=f"The sea is wide {n}.") for n in range(4)))
    job = Job(id="j", seed=1, request={"model": "b", "training_file": "f"}, parameters=None)
    (tmp_path / broken).write_text("neither TOML nor JSON")
    with pytest.raises(TransientFailure) as caught:
        resolve_parameters(job, TEXT, given, settings)
    assert caught.value.code == "internal_error"
    assert "The operator has to mend it" in caught.value.message
    assert str(tmp_path) not in caught.value.message
    (tmp_path / broken).unlink()
    assert resolve_parameters(job, TEXT, given, settings).preset == "tone"


def test_bytes_that_the_store_has_changed_are_no_references(store: Storage, tmp_path: Path) -> None:
    kept = store.put("accounts/a/files/f", b'{"text": "The sea is wide."}\n')
    file = File(id="f", filename="a.jsonl", storage_key=kept.key, sha256=kept.sha256)
    settings = Settings(data=tmp_path)
    assert len(fetch_references([file], store, settings, tmp_path / "incoming", lambda: None).items) == 1
    store.put(kept.key, b'{"text": "The sea is calm."}\n')
    with pytest.raises(TransientFailure) as caught:
        fetch_references([file], store, settings, tmp_path / "incoming", lambda: None)
    assert caught.value.code == "storage_unavailable"


def test_texts_that_the_chat_template_cannot_write_are_left_out_or_end_the_job() -> None:
    record = TEXT.model_copy(update={"chat": ChatFacts(template=True, system=True, tools=False)})
    asked, said = {"role": "user", "content": "?"}, {"role": "assistant", "content": "No."}
    plain, tools = TextItem((asked, said)), TextItem((asked, said), tools=({"type": "function"},))
    assert writable(References("texts", (plain, tools)), record).items == (plain,)
    with pytest.raises(JobFailure, match="1 of 1 texts declares or calls tools") as failure:
        writable(References("texts", (tools,)), record)
    assert failure.value.code == "invalid_training_file"
