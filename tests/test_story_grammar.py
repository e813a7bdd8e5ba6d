"""The distribution of the stories is exact: parsing a story finds the probability of drawing it."""

import itertools
import math
import re
from collections import Counter
from random import Random

import pytest

from lstm_lm.config import StoriesConfig
from lstm_lm.stories.biographies import (
    iterate_stories,
    log_probability_of,
    next_word_probabilities,
    source_nll,
)
from lstm_lm.stories.grammar import Choices, Option, Sampler, iterate_derivations, sample
from lstm_lm.stories.lexicon import Slot, build_lexicon, load_lexicon
from lstm_lm.stories.program import SENTENCE_WORDS, Biography, return_chance
from lstm_lm.stories.scene import Scene

WORLDS = ("small", "wide")
WORD_OR_MARK = re.compile(r"\w+|[^\w\s]")


@pytest.fixture(scope="module")
def stories():
    return list(iterate_stories(300, seed=0, split="train"))


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
def test_a_parsed_story_has_one_derivation_with_the_probability_it_was_drawn_with(world):
    config = StoriesConfig(world=world)
    program = Biography(load_lexicon(world), config)
    for story in iterate_stories(150, 0, "train", config):
        ways = list(iterate_derivations(program.tell, Scene(250), story.text + "\n"))
        assert ways == [(story.text + "\n", story.log_probability)]


def test_source_nll_sums_the_stories(stories):
    assert source_nll(300, 0, "train") == pytest.approx(
        -sum(story.log_probability for story in stories), rel=1e-12
    )
    assert log_probability_of(stories[0].text) == stories[0].log_probability


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I grew up in France.",
        "I grew up in France. I speak fluent Spanish.",
        "I grew up in France. I speak fluent French",
        "Call me Ishmael.",
        "Maria grew up in Italy. He speaks fluent Italian.",
        "I grew up in France.  I speak fluent French.",
    ],
)
def test_a_text_that_the_source_never_has_has_probability_0(text):
    assert log_probability_of(text) == -math.inf


def test_next_word_probabilities_multiply_to_the_story(stories):
    text = min(
        (story for story in stories if story.text.count(" ") > 25),
        key=lambda story: len(story.text),
    ).text
    total = 0.0
    for found in itertools.chain(WORD_OR_MARK.finditer(text), [None]):
        prefix, word = (text[: found.start()], found.group()) if found else (text, "\n")
        distribution = next_word_probabilities(prefix)
        assert math.fsum(distribution.values()) == pytest.approx(1, abs=1e-12)
        total += math.log(distribution[word])
    assert total == pytest.approx(log_probability_of(text), rel=1e-9)


def test_a_prefix_is_whole_words():
    assert next_word_probabilities("I grew up in Fran") == {}
    assert next_word_probabilities("I grew up in Atlantis") == {}
    assert sum(next_word_probabilities("").values()) == pytest.approx(1)


def tiny_lexicon():
    tables = [
        [
            ["country", "nationality", "language", "capital"],
            ["Italy", "Italian", "Italian", "Rome"],
            ["Cuba", "Cuban", "Spanish", "Havana"],
        ],
        [["name", "pronoun"], ["Maria", "she"], ["Vignesh", "he"], ["Anna", "she"], ["Hugo", "he"]],
        [["kin", "pronoun"], ["mother", "she"], ["father", "he"]],
        [["trade"], ["nurse"], ["astronomer"]],
        [["drink"], ["tea"], ["milk"]],
    ]
    sentences = [
        ["cue", "origin", "2", "{I} grew up in {country}."],
        ["answer", "capital", "1", "{I} still {have/has} a home in {capital}.*"],
        ["answer", "language", "3", "{I} {speak/speaks} fluent {language}.*"],
        ["answer", "language", "1", "At home {i} {speak/speaks} {language}."],
        ["trade", "trade", "1", "{I} {am/is} {a trade}."],
        ["meeting", "meeting", "1", "{I} {am/is} a year older than {name}."],
        ["move", "moving", "1", "{I} later moved to {country}.*"],
        ["moved", "capital", "1", "{I} now {have/has} an office in {capital}.*"],
        ["about", "subject", "1", "Every morning {i} {drink/drinks} {drink}."],
        ["about", "object", "1", "I still have a picture of {me}."],
        ["lose", "them", "1", "I lost the keys."],
        ["find them", "found", "1", "Today I found them."],
        ["letter", "letter", "1", "I wrote a letter to {name}."],
        ["lesson", "facts", "3", "The capital of {country} is {capital}."],
        ["lesson", "facts", "1", "Snow is white."],
        ["filler", "drink", "3", "I like {drink}, but {name} likes {other drink}."],
        ["filler", "sun", "1", "The sun rises in the east."],
    ]
    return build_lexicon(tables, sentences)


def beginning(text, sentences):
    """The first sentences of a story; all of it if it has fewer."""
    ends = [found.end() for found in re.finditer(r"\.[\")]?|\n", text)]
    return text[: ends[min(sentences, len(ends)) - 1]] if ends else text


@pytest.fixture(scope="module")
def beginnings():
    """The first three sentences of all stories of the tiny grammar, with log-probabilities."""
    program = Biography(tiny_lexicon(), StoriesConfig(farthest=30))
    return list(iterate_derivations(program.tell, Scene(30), "", lambda text: text.count(".") >= 3))


def test_all_beginnings_of_a_tiny_grammar_have_probability_one_and_differ(beginnings):
    assert len(beginnings) > 10_000
    assert math.fsum(
        math.exp(log_probability) for _, log_probability in beginnings
    ) == pytest.approx(1, abs=1e-12)
    assert len({text for text, _ in beginnings}) == len(beginnings)


def test_draws_have_the_computed_probabilities(beginnings):
    program, rng, count = (
        Biography(tiny_lexicon(), StoriesConfig(farthest=30)).tell,
        Random("draws"),
        4000,
    )
    told = Counter(beginning(sample(program, Scene(30), rng).text, 2) for _ in range(count))
    expected: Counter = Counter()
    for text, log_probability in beginnings:
        expected[beginning(text, 2)] += math.exp(log_probability)
    for opening in (
        "I grew",
        "I grew up in Cuba. I speak",
        "I grew up in Italy. Vignesh",
        "Maria",
        "Snow",
        "I lost",
        "I lost the keys. Today",
        "I grew up in Cuba. At",
        "I grew up in Cuba. I am a year",
        "I grew up in Italy. I wrote",
        "My mother is a nurse. Every",
        "Hugo is a year older than Anna.",
    ):
        drawn, probability = (
            sum(share for text, share in counts.items() if text.startswith(opening))
            for counts in (told, expected)
        )
        assert probability > 0.0005, opening
        deviation = math.sqrt(count * probability * (1 - probability))
        assert abs(drawn - count * probability) < 4.5 * deviation, opening


@pytest.mark.parametrize("farthest", [8, 30, 250])
def test_the_chance_of_a_return_spreads_distances_evenly_on_a_logarithmic_scale(farthest):
    kept, shares = 1.0, []
    for passed in range(0, farthest + SENTENCE_WORDS, SENTENCE_WORDS):
        shares.append((passed, kept * return_chance(passed, farthest) / 1000))
        kept -= shares[-1][1]
    assert kept == pytest.approx(0, abs=1e-9) and return_chance(farthest, farthest) == 1000
    for passed, share in shares[:-1]:
        wanted = math.log(min(1 + passed + SENTENCE_WORDS, 1 + farthest) / (1 + passed)) / math.log(
            1 + farthest
        )
        assert share == pytest.approx(wanted, abs=2e-3)


def test_excluded_options_are_not_drawn_and_the_others_share_their_weight():
    choices = Choices(
        [Option("a", "a", 5, "first"), Option("b", "b", 2, "second"), Option("c", "c", 1, "third")]
    )
    rng, drawn = Random("excluded"), Counter()
    for _ in range(3000):
        sampler = Sampler(rng)
        drawn[sampler.choose(choices, ["first"])] += 1
        assert sampler.log_probability == math.log({"b": 2, "c": 1}[sampler.text] / 3)
    assert drawn["a"] == 0 and abs(drawn["b"] - 2000) < 4.5 * math.sqrt(3000 * 2 / 9)


def pieces_of(opening, sentence, lexicon):
    """A sentence as a list of sets of texts.

    A slot that repeats a known word counts as free: this adds texts and removes none.
    """
    pronouns = ["he", "she", "his", "her", "him", "himself", "herself"]
    pieces = [[opening]] if opening else []
    for piece in sentence.rest:
        if isinstance(piece, Slot):
            point = lexicon.words.get((piece.column, piece.article))
            pieces.append([option.text for option in point.options] if point else pronouns)
        else:
            pieces.append([piece])
    return pieces


def can_have_the_same_text(one, other):
    """Whether two lists of sets of texts can spell the same sentence."""
    # What is left of the list that is ahead, of the one behind, the text between them, and whether
    # the second list is ahead.
    pending, seen = [(one, other, "", False)], set()
    while pending:
        ahead, behind, lead, swapped = pending.pop()
        if (state := (len(ahead), len(behind), lead, swapped)) in seen:
            continue
        seen.add(state)
        if not behind:
            if not ahead and not lead:
                return True
            continue
        for text in behind[0]:
            if lead.startswith(text):
                pending.append((ahead, behind[1:], lead[len(text) :], swapped))
            elif text.startswith(lead):
                pending.append((behind[1:], ahead, text[len(lead) :], not swapped))
    return False


@pytest.mark.parametrize("world", WORLDS)
def test_no_two_sentences_of_the_grammar_can_have_the_same_text(world):
    lexicon = load_lexicon(world)
    # All names are used alike.
    names = [option.text for option in lexicon.words["name", False].options[:5]]
    roles = [f"The {option.text}" for option in lexicon.words["trade", False].options[:5]]
    sentences = []
    for (role, spoken_of), choices in lexicon.sentences.items():
        is_role = role.startswith("apposition")
        by_name = role.endswith("named") or role in ("cue", "trade", "meeting") or is_role
        if role == "lesson":
            continue  # lessons are stories of their own
        if spoken_of == "I" and (role in ("about", "trade", "answer inside") or is_role):
            continue  # these are never about the narrator
        always_narrator = ("filler", "letter", "lose", "find it", "find them", "memo")
        if spoken_of != "I" and (role in always_narrator or role.startswith("recall")):
            continue  # these are always about the narrator
        if spoken_of == "he" and by_name or spoken_of == "I" and role.endswith("named"):
            continue  # the forms of "he" differ only in "his", and the name decides the pronoun
        subject = [["I"] if spoken_of == "I" else names + roles] if by_name else []
        sentences += [
            subject + pieces_of(option.text, option.value, lexicon) for option in choices.options
        ]
    assert len(sentences) > 150
    for one, other in itertools.combinations(sentences, 2):
        assert not can_have_the_same_text(one, other), (one, other)


def test_two_sentences_with_the_same_text_would_be_found():
    assert can_have_the_same_text(
        [["a ", "an "], ["owl", "cat"], ["."]], [["an owl", "a dog"], [".", "!"]]
    )
    assert not can_have_the_same_text(
        [["a ", "an "], ["owl", "cat"], ["."]], [["an owl", "a dog"], ["!"]]
    )
