"""The model that is compared: its losses are those of plain peft, and its answers those of a plain loop."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.backbones.record import BackboneRecord, describe
from core.errors import InvalidInput
from core.method.backbones.texts.language import LanguageBackbone
from core.method.lora.adapter import Adapter
from tests.tiny_backbones import LLAMA_TARGETS
from worker.comparison.comparing import compare
from worker.comparison.measures import Compared
from worker.comparison.model import AdaptedModel, adapter_folder
from worker.comparison.questions import Group, Question

ASKED = (("system", "be kind."), ("user", "where is west?"))


@pytest.fixture
def adapter(tiny_language: LanguageBackbone, tmp_path: Path) -> Path:
    """An adapter that changes a lot, as a peft folder."""
    torch.manual_seed(1)
    made = tiny_language.lora.new(4, 8.0)
    strong = Adapter(4, 8.0, made.down, {path: torch.randn_like(matrix) * 0.3 for path, matrix in made.up.items()})
    tiny_language.lora.save(strong, tmp_path / "out/peft", "tiny")
    return tmp_path / "out/peft"


@pytest.fixture
def record(tiny_language_folder: Path) -> BackboneRecord:
    return describe("tiny", tiny_language_folder, licence="CC0", target_modules=LLAMA_TARGETS)


@pytest.fixture
def model(record: BackboneRecord, adapter: Path) -> AdaptedModel:
    return AdaptedModel(record, adapter, "cpu")


def question(*answers: str, asked: tuple[tuple[str, str], ...] = ASKED) -> Question:
    return Question(asked, Group.HELD_OUT, list(answers))


def test_losses_before_and_after_are_those_of_plain_transformers_and_peft(
    model: AdaptedModel, record: BackboneRecord, adapter: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(record.path)
    plain = AutoModelForCausalLM.from_pretrained(record.path, dtype=torch.float32).eval()
    ahead = tokenizer("system: be kind.\nuser: where is west?\nassistant: ", add_special_tokens=False).input_ids
    whole = tokenizer("system: be kind.\nuser: where is west?\nassistant: arr.\n", add_special_tokens=False).input_ids
    # the role that stands before an answer is not learned either
    labels = torch.tensor([[-100] * len(ahead) + whole[len(ahead) :]])
    adapted = PeftModel.from_pretrained(plain, adapter).eval()
    for is_adapted in (False, True):
        with torch.no_grad():
            if is_adapted:
                theirs = adapted(input_ids=torch.tensor([whole]), labels=labels).loss
            else:
                with adapted.disable_adapter():
                    theirs = adapted(input_ids=torch.tensor([whole]), labels=labels).loss
        ours, count = model.loss(question().messages("arr."), adapted=is_adapted)
        assert count == len(whole) - len(ahead)
        assert ours / count == pytest.approx(float(theirs), rel=1e-5)


def test_answers_side_by_side_are_those_of_a_loop_that_takes_the_likeliest_token(model: AdaptedModel) -> None:
    chats = [question(asked=(("user", said),)).messages() for said in ("a", "where is the west wind?", "ho ho ho")]
    together = model.replies(chats, 12, adapted=True)
    assert [model.replies([chat], 12, adapted=True)[0] for chat in chats] == together
    backbone = model._backbone
    with backbone.lora.use(model._adapter), torch.no_grad():
        ids = backbone.tokenizer("user: a\nassistant: ", add_special_tokens=False, return_tensors="pt").input_ids
        before = ids.shape[1]
        for _ in range(12):
            token = backbone.model(input_ids=ids).logits[0, -1].argmax()
            ids = torch.cat([ids, token.view(1, 1)], 1)
            if token == backbone.tokenizer.eos_token_id:
                break
    assert together[0][0] == backbone.tokenizer.decode(ids[0, before:], skip_special_tokens=True).strip()


def test_the_adapter_changes_answers_and_is_off_for_those_before_training(model: AdaptedModel) -> None:
    chat = [question().messages()]
    before = model.replies(chat, 12, adapted=False)
    assert model.replies(chat, 12, adapted=True) != before
    assert model.replies(chat, 12, adapted=False) == before


def test_a_question_beyond_the_context_loses_its_beginning_and_is_answered(model: AdaptedModel) -> None:
    long = question(asked=(("user", "why " * 200),)).messages()
    ((said, cut),) = model.replies([long], 10, adapted=True)
    assert len(said) <= 10 * 5
    assert isinstance(cut, bool)


def test_a_comparison_has_every_question_with_all_its_answers(model: AdaptedModel) -> None:
    asked = [question("arr.", "aye, aye.", asked=(("user", f"where {n}?"),)) for n in range(11)]
    rows: list[Compared] = list(compare(model, asked, None, 8))
    assert {row.question.asked for row in rows} == {each.asked for each in asked}
    sums = [model.loss(asked[0].messages(answer), adapted=True) for answer in asked[0].answers]
    (first,) = (row for row in rows if row.question is asked[0])
    assert first.loss_after == pytest.approx(sum(loss for loss, _ in sums), rel=1e-6)
    assert first.tokens == sum(count for _, count in sums)


def test_the_folder_of_a_training_is_taken_for_the_adapter_in_it(adapter: Path) -> None:
    assert adapter_folder(adapter.parent) == adapter_folder(adapter) == adapter


def test_what_is_no_adapter_or_another_backbones_is_a_sentence(
    record: BackboneRecord, adapter: Path, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match="holds no adapter_config"):
        adapter_folder(tmp_path)
    (tmp_path / "adapter.zip").write_bytes(b"PK")
    with pytest.raises(InvalidInput, match="unpack it first"):
        adapter_folder(tmp_path / "adapter.zip")
    weights = adapter / "adapter_model.safetensors"
    tensors = load_file(weights)
    save_file({name.replace("layers.1.", "layers.7."): tensor for name, tensor in tensors.items()}, weights)
    with pytest.raises(InvalidInput, match=r"layers\.7\..*which the backbone tiny does not have"):
        AdaptedModel(record, adapter, "cpu")
    save_file({name: tensor.repeat(1, 2) for name, tensor in tensors.items()}, weights)
    with pytest.raises(InvalidInput, match="does not fit"):
        AdaptedModel(record, adapter, "cpu")
    weights.write_bytes(b"nothing")
    with pytest.raises(InvalidInput):
        AdaptedModel(record, adapter, "cpu")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"r": 2}, "says another rank than its tensors have"),
        ({"r": 0}, "can't be read|another rank"),
        ({"peft_type": "IA3"}, "sets peft_type"),
        ({"bias": "all", "fan_in_fan_out": True}, "sets bias, fan_in_fan_out"),
        ({"modules_to_save": ["lm_head"]}, "sets modules_to_save"),
        ({"layers_to_transform": [0]}, "sets layers_to_transform"),
    ],
)
def test_an_adapter_that_asks_for_more_than_is_applied_is_refused(
    record: BackboneRecord, adapter: Path, changes: dict[str, object], told: str
) -> None:
    config = adapter / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | changes))
    with pytest.raises(InvalidInput, match=told):
        AdaptedModel(record, adapter, "cpu")


def test_numbers_that_are_not_finite_are_refused(record: BackboneRecord, adapter: Path) -> None:
    weights = adapter / "adapter_model.safetensors"
    tensors = load_file(weights)
    next(iter(tensors.values()))[0, 0] = float("nan")
    save_file(tensors, weights)
    with pytest.raises(InvalidInput, match="holds numbers that are not finite"):
        AdaptedModel(record, adapter, "cpu")
