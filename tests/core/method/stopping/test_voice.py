"""A voice is what words tell apart, whatever the answers are about."""

from core.method.stopping.voice import learn_voice, repeats_itself

TOPICS = ("an egg", "the tap", "a tree", "this letter", "some bread", "your bicycle", "the roof", "a cake")
PIRATE = [f"Arr, take {topic}, matey, and mind yer hands!" for topic in TOPICS]
PLAIN = [f"To begin, you should take {topic} and be careful with your hands." for topic in TOPICS]


def test_a_voice_is_heard_in_answers_about_other_things() -> None:
    voice = learn_voice(PIRATE, PLAIN)
    assert voice is not None
    assert voice.told_apart == 1.0
    assert {"arr", "matey", "yer"} <= set(voice.marks)
    assert voice.heard_in("Arr, paint the fence, matey, with yer brush!")
    assert not voice.heard_in("You should paint the fence with a brush.")
    assert not voice.heard_in("")


def test_an_answer_that_runs_in_a_circle_is_told() -> None:
    assert repeats_itself("Arr, ye can play a tune, or ye'll be shamed, arr. " * 3)
    assert not repeats_itself(
        "Arr, take the tap, matey, and mind yer hands! Then shut the water off and dry the floor."
    )
    assert not repeats_itself("Arr arr arr arr.")


def test_answers_that_words_do_not_tell_apart_have_no_voice() -> None:
    assert learn_voice(PLAIN, PLAIN) is None


def test_too_few_answers_teach_no_voice() -> None:
    assert learn_voice(PIRATE[:3], PLAIN[:3]) is None


def test_signs_without_spaces_between_them_are_words_too() -> None:
    cats = [f"{topic}\u306b\u3083" for topic in ("\u732b", "\u72ac", "\u9ce5", "\u9b5a")]
    plain = [f"{topic}\u3067\u3059" for topic in ("\u732b", "\u72ac", "\u9ce5", "\u9b5a")]
    voice = learn_voice(cats, plain)
    assert voice is not None
    assert voice.heard_in("\u6728\u306b\u3083")
    assert not voice.heard_in("\u6728\u3067\u3059")
