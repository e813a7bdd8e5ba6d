"""The truth about the biographies is exact: a story drawn is read back with the very probability it was drawn with."""

import itertools
import math
import re
from collections import Counter
from random import Random

import pytest

from lstm_lm.corpus.biographies import (
    Biography,
    Scene,
    iterate_stories,
    log_probability_of,
    next_word_probabilities,
    source_nll,
)
from lstm_lm.corpus.story_grammar import Choices, Option, Sampler, derivations, sample
from lstm_lm.corpus.story_lexicon import Slot, build_lexicon, load_lexicon

WORD_OR_MARK = re.compile(r"\w+|[^\w\s]")


@pytest.fixture(scope="module")
def stories():
    return list(iterate_stories(300, seed=0, split="train"))


def test_reading_a_story_back_finds_one_derivation_with_the_generators_probability(stories):
    program = Biography(load_lexicon())
    for story in stories:
        ways = list(derivations(program.tell, Scene(), story.text + "\n"))
        assert ways == [(story.text + "\n", story.log_probability)]


def test_source_nll_sums_the_stories(stories):
    assert source_nll(300, 0, "train") == pytest.approx(-sum(story.log_probability for story in stories), rel=1e-12)
    assert log_probability_of(stories[0].text) == stories[0].log_probability


@pytest.mark.parametrize("text", ["", "I grew up in France.", "I grew up in France. I speak fluent Spanish.",
                                  "I grew up in France. I speak fluent French", "Call me Ishmael.",
                                  "Maria grew up in Italy. He speaks fluent Italian.",
                                  "I grew up in France.  I speak fluent French."])
def test_what_the_source_never_says_has_no_probability(text):
    assert log_probability_of(text) == -math.inf


def test_next_word_probabilities_multiply_to_the_story(stories):
    text = min((story for story in stories if story.text.count(" ") > 25), key=lambda story: len(story.text)).text
    total = 0.0
    for found in itertools.chain(WORD_OR_MARK.finditer(text), [None]):
        prefix, word = (text[:found.start()], found.group()) if found else (text, "\n")
        distribution = next_word_probabilities(prefix)
        assert math.fsum(distribution.values()) == pytest.approx(1, abs=1e-12)
        total += math.log(distribution[word])
    assert total == pytest.approx(log_probability_of(text), rel=1e-9)


def test_a_prefix_is_whole_words():
    assert next_word_probabilities("I grew up in Fran") == {}
    assert next_word_probabilities("I grew up in Atlantis") == {}
    assert sum(next_word_probabilities("").values()) == pytest.approx(1)


def tiny_lexicon():
    tables = [[["country", "nationality", "language", "capital"], ["Italy", "Italian", "Italian", "Rome"],
               ["Cuba", "Cuban", "Spanish", "Havana"]],
              [["name", "pronoun"], ["Maria", "she"], ["Vignesh", "he"]],
              [["relative", "they"], ["mother", "she"], ["father", "he"]]]
    sentences = [["cue", "origin", "2", "{I} grew up in {country}."],
                 ["language", "answer", "1", "{I} {speak/speaks} fluent {language}."],
                 ["capital", "answer", "1", "{I} still {have/has} a home in {capital}."],
                 ["meeting", "meeting", "1", "{I} {am/is} a year older than {name}."],
                 ["filler", "family", "3", "{My} {relative} sings, and {they} likes {my} {other relative}."]]
    return build_lexicon(tables, sentences)


@pytest.fixture(scope="module")
def everything():
    """All that the tiny grammar can say, with log-probabilities."""
    return list(derivations(Biography(tiny_lexicon()).tell, Scene()))


def test_all_stories_of_a_tiny_grammar_have_probability_one_and_differ(everything):
    assert len(everything) > 10_000
    assert math.fsum(math.exp(log_probability) for _, log_probability in everything) == pytest.approx(1, abs=1e-12)
    assert len({text for text, _ in everything}) == len(everything)
    assert all(text.endswith(".\n") and text.count("\n") == 1 for text, _ in everything)


def test_draws_follow_the_stated_probabilities(everything):
    program, rng, count = Biography(tiny_lexicon()).tell, Random("draws"), 4000

    def beginning(text):
        return ".".join(text.split(".")[:2])

    told = Counter(beginning(sample(program, Scene(), rng).text) for _ in range(count))
    expected: Counter = Counter()
    for text, log_probability in everything:
        expected[beginning(text)] += math.exp(log_probability)
    assert set(told) <= set(expected)
    for opening, probability in expected.items():
        deviation = math.sqrt(count * probability * (1 - probability))
        assert abs(told[opening] - count * probability) < 4.5 * deviation


def test_barred_options_are_not_drawn_and_the_rest_share_their_weight():
    choices = Choices([Option("a", "a", 5, "first"), Option("b", "b", 2, "second"), Option("c", "c", 1, "third")])
    rng, drawn = Random("barred"), Counter()
    for _ in range(3000):
        sampler = Sampler(rng)
        drawn[sampler.among(choices, ["first"])] += 1
        assert sampler.log_probability == math.log({"b": 2, "c": 1}[sampler.text] / 3)
    assert drawn["a"] == 0 and abs(drawn["b"] - 2000) < 4.5 * math.sqrt(3000 * 2 / 9)


def pieces_of(opening, sentence, lexicon):
    """A sentence as a list of sets of texts; a slot that repeats a known word is taken as free, which only adds."""
    pronouns = ["he", "she", "his", "her", "him", "himself", "herself"]
    pieces = [[opening]] if opening else []
    for piece in sentence.rest:
        if isinstance(piece, Slot):
            point = lexicon.words.get((piece.column, piece.article))
            pieces.append([option.text for option in point.options] if point else pronouns)
        else:
            pieces.append([piece])
    return pieces


def can_read_alike(one, other):
    """Whether two lists of sets of texts can spell the same sentence."""
    pending = [(one, other, "")]  # what is left of the one that is ahead, of the one behind, and by what text
    while pending:
        ahead, behind, lead = pending.pop()
        if not behind:
            if not ahead and not lead:
                return True
            continue
        for text in behind[0]:
            if lead.startswith(text):
                pending.append((ahead, behind[1:], lead[len(text):]))
            elif text.startswith(lead):
                pending.append((behind[1:], ahead, text[len(lead):]))
    return False


@pytest.mark.parametrize("pronoun", ["I", "she"])
def test_no_two_sentences_of_the_grammar_can_read_alike(pronoun):
    lexicon = load_lexicon()
    names = [option.text for option in lexicon.words["name", False].options]
    sentences = []
    for (role, spoken_of), choices in lexicon.sentences.items():
        if role == "filler" and spoken_of != pronoun:
            continue  # whom a filler is about, the scene decides
        subject = {"I": [["I"]]}.get(spoken_of, [names]) if role in ("cue", "meeting") else []
        if subject and spoken_of == "he":
            continue  # its forms differ from hers in "his" alone, and the name decides between them
        sentences += [subject + pieces_of(option.text, option.value, lexicon) for option in choices.options]
    assert len(sentences) > 125
    for one, other in itertools.combinations(sentences, 2):
        assert not can_read_alike(one, other), (one, other)


def test_two_sentences_that_read_alike_would_be_found():
    assert can_read_alike([["a ", "an "], ["owl", "cat"], ["."]], [["an owl", "a dog"], [".", "!"]])
    assert not can_read_alike([["a ", "an "], ["owl", "cat"], ["."]], [["an owl", "a dog"], ["!"]])
