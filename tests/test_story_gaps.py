"""Where a foreign sentence may stand in a story: told by the text as the grammar tells it."""

from random import Random

import pytest

from lstm_lm.config import StoriesConfig
from lstm_lm.stories.biographies import iterate_stories
from lstm_lm.stories.gaps import sentence_ends
from lstm_lm.stories.grammar import Sampler
from lstm_lm.stories.lexicon import load_lexicon
from lstm_lm.stories.program import Biography
from lstm_lm.stories.scene import Scene


def ends_by_the_grammar(program, rng):
    """Tells one story; returns it, and where it could be interrupted: after every step."""
    sampler, scene, ends = Sampler(rng), Scene(program.config.farthest), []
    while scene is not None:
        scene = program.tell(sampler, scene)
        if scene is not None and not scene.closing:
            ends.append(len(sampler.text))
    return sampler.text.removesuffix("\n"), tuple(ends[:-1])


@pytest.mark.parametrize("world", ["small", "wide"])
def test_the_ends_of_sentences_are_those_of_the_grammar(world):
    config = StoriesConfig(world=world, farthest=60, quotation=9, subject_change=0)
    program = Biography(load_lexicon(world), config)
    rng, found = Random("gaps"), 0
    for _ in range(400):
        text, ends = ends_by_the_grammar(program, rng)
        assert sentence_ends(text) == ends, text
        found += '."' in text
    assert found > 40  # quotations


@pytest.mark.parametrize(
    ("text", "interrupted"),
    [
        ("", ""),
        ("Snow is white.", "Snow is white."),
        ("I am Thai. I speak Thai.", "I am Thai.# I speak Thai."),
        ('I wrote to Olga. "It is. So it is." I am.', 'I wrote to Olga. "It is. So it is."# I am.'),
        ("I wrote to Olga. (It is.) (It is.) I am.", "I wrote to Olga. (It is.)# (It is.)# I am."),
        ('I wrote to Olga. "It is."', 'I wrote to Olga. "It is."'),
    ],
)
def test_no_end_is_inside_a_quotation_or_before_it_or_the_last(text, interrupted):
    for end in reversed(sentence_ends(text)):
        text = f"{text[:end]}#{text[end:]}"
    assert text == interrupted


@pytest.mark.parametrize("world", ["small", "wide"])
def test_foreign_sentences_leave_the_story_as_it_was(world):
    for story in iterate_stories(100, 1, "train", StoriesConfig(world=world)):
        text = story.text
        for end in reversed(sentence_ends(text)):
            assert text[end] == " " and text[end - 1] in '.")'
            text = f"{text[:end]} Xyz .{text[end:]}"
        assert text.replace(" Xyz .", "") == story.text
