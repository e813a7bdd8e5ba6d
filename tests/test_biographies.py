"""The built-in stories: right facts, no hints to an answer, the same text everywhere for a seed."""

import bisect
import hashlib
import itertools
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from lstm_lm.config import CorpusConfig, StoriesConfig
from lstm_lm.corpus.corpus import Corpus
from lstm_lm.corpus.sources import SPLITS
from lstm_lm.errors import CorpusError
from lstm_lm.files import packaged
from lstm_lm.files.packaged import data_folder, read_word_list
from lstm_lm.probes.suites import find_suite
from lstm_lm.stories import biographies
from lstm_lm.stories import lexicon as story_lexicon
from lstm_lm.stories.biographies import (
    distance_limit,
    fingerprint,
    iterate_stories,
    next_word_probabilities,
    source_nll,
)
from lstm_lm.stories.grammar import count_words
from lstm_lm.stories.lexicon import PRONOUN_FORMS, Slot, load_lexicon
from lstm_lm.stories.program import Biography
from lstm_lm.stories.worlds import NEVER_TOGETHER

WORD_OR_MARK = re.compile(r"\w+|[^\w\s]")
COUNTRY_COLUMNS, *COUNTRY_ROWS = read_word_list("biographies/countries.tsv")
COUNTRIES = [dict(zip(COUNTRY_COLUMNS, row, strict=True)) for row in COUNTRY_ROWS]
PRONOUN_OF = dict(read_word_list("biographies/names.tsv")[1:])
SENTENCES = read_word_list("biographies/sentences.tsv")
LISTS = dict(read_word_list("biographies/words.tsv"))
KIN = dict(row.split("/") for row in LISTS["kin/pronoun"].split(", "))
GOLDEN = "6b1e083779255e9249efb6a7e19a1a2bafaf99d0d73e1d49325e8768773626f1"
# The columns that stories of the small world use.
CLUES = {word for row in COUNTRY_ROWS for word in row[:4]}
FILLERS = [row[3] for row in SENTENCES if row[0] == "filler"]
NOTHING_NEW = StoriesConfig(
    two_people=0, subject_change=0, move=0, kin=0, lost=0, quotation=0, lesson=0
)
NOTHING_NEW_BUT_TWO = replace(NOTHING_NEW, two_people=4)


@pytest.fixture(scope="module")
def stories():
    return list(iterate_stories(300, seed=0, split="train"))


def words_of(text):
    return [word for word in WORD_OR_MARK.findall(text) if word[0].isalnum()]


# --- the same everywhere --------------------------------------------------------------------------


def test_a_seed_gives_the_same_stories_on_every_machine(stories):
    text = "\n".join(story.text for story in stories[:5])
    assert hashlib.sha256(text.encode()).hexdigest() == GOLDEN, text


def test_fewer_stories_are_the_beginning_of_more(stories):
    assert list(iterate_stories(20, 0, "train")) == stories[:20]
    assert list(iterate_stories(0, 0, "train")) == []


def test_splits_seeds_and_settings_give_different_stories():
    beginnings = {tuple(iterate_stories(20, seed, split)) for seed in (0, 1) for split in SPLITS}
    beginnings |= {tuple(iterate_stories(20, 0, "train", StoriesConfig(farthest=20)))}
    assert len(beginnings) == 7


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="'dev'.*train, valid or test"):
        next(iterate_stories(1, 0, "dev"))


def test_the_fingerprint_depends_on_the_word_lists_and_the_sources(monkeypatch, tmp_path):
    before = fingerprint()
    assert before == fingerprint() and len(before) == 64
    with monkeypatch.context() as patch:
        patch.setattr(biographies, "read_word_list_text", lambda name: "other words")
        assert fingerprint() != before
    folder = Path(biographies.__file__).parent
    for name in biographies.SOURCE_FILES:
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    monkeypatch.setattr(biographies, "__file__", str(tmp_path / "biographies.py"))
    assert fingerprint() == before
    (tmp_path / "grammar.py").write_text("other rules")
    assert fingerprint() != before


# --- the perplexity of the source -----------------------------------------------------------------


def test_a_corpus_of_stories_knows_the_nll_of_its_source():
    stories = StoriesConfig(count=30, seed=2, returns=4.0)
    corpus = Corpus(CorpusConfig(source="stories"), stories)
    assert corpus.source_nll("train") == source_nll(30, 2, "train", stories) > 0
    assert corpus.source_nll("valid") == source_nll(200, 2, "valid", stories) > 0


def test_the_nll_of_train_is_unknown_with_a_curriculum():
    stories = StoriesConfig(count=30, seed=2, curriculum=4)
    corpus = Corpus(CorpusConfig(source="stories"), stories)
    assert corpus.source_nll("train") is None
    assert corpus.source_nll("valid") == source_nll(200, 2, "valid", stories)


@pytest.mark.parametrize("curriculum", [None, 4])
def test_the_n_gram_command_scores_train(command, tmp_path, curriculum):
    config = tmp_path / "stories.yaml"
    config.write_text("corpus: {source: stories}\nstories: {count: 30, seed: 2}\n")
    extra = [] if curriculum is None else [f"stories.curriculum={curriculum}"]
    status, out, err = command("ngram", config, *extra, "--split", "train")
    assert status == 0, err
    assert ("source" in out) == (curriculum is None)


# --- the facts are right --------------------------------------------------------------------------


def test_the_countries():
    assert 25 <= len(COUNTRIES) <= 30 and COUNTRY_COLUMNS == [
        "country",
        "nationality",
        "language",
        "capital",
        "continent",
        "currency",
    ]
    for column in ("country", "nationality", "capital"):
        assert len({country[column] for country in COUNTRIES}) == len(COUNTRIES)
    assert all(re.fullmatch("[A-Z][a-z]+", word) for word in CLUES)
    facts = {country: tuple(others[:3]) for country, *others in COUNTRY_ROWS}
    assert facts["France"] == ("French", "French", "Paris")
    assert facts["Italy"] == ("Italian", "Italian", "Rome")
    assert facts["Austria"] == ("Austrian", "German", "Vienna")
    assert facts["Brazil"] == ("Brazilian", "Portuguese", "Brasilia")
    assert {"Germany", "Spain", "Japan", "Portugal", "India"} <= set(facts)


def test_names_are_no_other_words_and_no_acquaintances():
    assert Counter(PRONOUN_OF.values()) == {"he": 20, "she": 20}
    assert PRONOUN_OF["Vignesh"] == "he" and PRONOUN_OF["Maria"] == "she"
    texts = [*LISTS.values(), *(row[3] for row in SENTENCES)]
    others = {word.lower() for word in itertools.chain(CLUES, *map(words_of, texts))}
    assert not others & {name.lower() for name in PRONOUN_OF}
    assert len(set(LISTS["acquaintance"].split(", "))) == 80


def filler_words():
    """Every word that a filler can say, and the columns that fillers draw from."""
    literals = {
        word for template in FILLERS for word in words_of(re.sub(r"\{[^}]*\}", " ", template))
    }
    slots = {
        slot.split()[-1] for template in FILLERS for slot in re.findall(r"\{([^}/]*)\}", template)
    }
    lists = {
        word
        for columns, rows in LISTS.items()
        if slots & set(columns.split("/"))
        for word in words_of(rows)
    }
    return literals | lists, slots


def test_no_filler_gives_a_clue():
    words, columns = filler_words()
    assert len(FILLERS) >= 80 and len(set(FILLERS)) == len(FILLERS)
    assert not columns & {
        "country",
        "language",
        "capital",
        "nationality",
        "name",
        "kin",
        *PRONOUN_FORMS["I"],
    }
    assert not {word.lower() for word in words} & {word.lower() for word in CLUES}
    assert not {"lost", '"', "(", ")"} & {
        mark for template in FILLERS for mark in WORD_OR_MARK.findall(template)
    }


def test_every_slot_can_be_filled_and_every_article_is_right():
    tables = {column for columns in LISTS for column in columns.split("/")}
    assert filler_words()[1] <= tables
    drawn = [
        option.text
        for (column, article), choices in load_lexicon().words.items()
        if not article and column not in ("continent", "currency")
        for option in choices.options
    ]
    assert not [
        word for word in drawn if re.match("(?i)hour|hon|heir|uni|use|usu(?!ally)|eu|one", word)
    ]
    assert (
        story_lexicon.with_article("engineer") == "an engineer"
        and story_lexicon.with_article("nurse") == "a nurse"
    )


# The sentences that matter, written down independently of the word lists and the grammar.
WHO = r"(?P<who>I|My \w+|[A-Z]\w+)"
CUE = re.compile(
    WHO
    + r" (?:(?:grew up in|was born in|spent (?P<whose>my|his|her) childhood in) (?P<country>\w+)"
    r"|(?:am|is) (?P<nationality>[A-Z]\w+))\."
)
TRADE = re.compile(WHO + r" (?:am|is) an? (?:\w+ )?[a-z]+\.")
MOVE = re.compile(WHO + r" later moved to (?P<country>\w+)\.")
MEETING = re.compile(
    WHO
    + r" (?:(?:am|is) (?:a year older than|\w+ years younger than|married to)|shares? an office "
    r"with|went to school with) (?P<name>[A-Z]\w+)\."
)
ANSWER = re.compile(
    r"(?:At home )?(?P<who>I|i|My|He|he|His|She|she|Her|[A-Z]\w+)?(?: | still | often | now )?(?:"
    r"speaks? (?:fluent )?(?P<language>[A-Z]\w+)|dreams? in (?P<dream>[A-Z]\w+)"
    r"|ha(?:ve|s) a home in (?P<capital>\w+)"
    r"|fl(?:y|ies) back to (?P<back>\w+)|passport is (?P<nationality>\w+)"
    r"|will always be (?P<heart>\w+) at heart"
    r"|The capital of (?P<whose>my|his|her) country is (?P<seat>\w+)"
    r"|To (?P<to>me|him|her) (?P<town>[A-Z]\w+) is home"
    r"|For (?P<for>me|him|her) (?P<tongue>[A-Z]\w+) comes first)\."
)
MOVED = re.compile(
    r"(?:(?P<who>I|He|She|[A-Z]\w+) now ha(?:ve|s) an office in"
    r"|These days (?P<he>I|he|she) lives? in) (?P<capital>\w+)\."
)
ASKED = {
    "language": "language",
    "dream": "language",
    "capital": "capital",
    "back": "capital",
    "seat": "capital",
    "town": "capital",
    "tongue": "language",
    "nationality": "nationality",
    "heart": "nationality",
}
PRONOUN = {
    "I": "I",
    "My": "I",
    "my": "I",
    "me": "I",
    "him": "he",
    "He": "he",
    "he": "he",
    "His": "he",
    "his": "he",
    "She": "she",
    "she": "she",
    "Her": "she",
    "her": "she",
}


class Follower:
    """Reads a story as a person does.

    Attributes:
        people: pronoun -> the country somebody is from, None if that is not known.
        homes: pronoun -> the country they moved to.
        returns: (country, fact, word said, words in between) of every answer.
    """

    def __init__(self, text):
        self.people, self.homes, self.returns, self.cue_at, self.lost = {}, {}, [], {}, None
        self.said, inside = 0, ""
        for sentence in re.findall(r'[^."()]+\.|["()]', text):
            sentence = sentence.strip()
            if sentence in '"()':
                inside = "" if inside else {'"': '"', "(": ")"}[sentence]
            elif inside:
                assert not CLUES & set(words_of(sentence)), sentence
            else:
                self.hear(sentence)
            self.said += len(words_of(sentence))
        self.inside = inside

    def country(self, column, word):
        (country,) = [country for country in COUNTRIES if country[column] == word]
        return country

    def pronoun(self, who):
        return PRONOUN.get(who) or (KIN[who[3:]] if who.startswith("My ") else PRONOUN_OF[who])

    def hear(self, sentence):
        def heard(pattern):
            found = pattern.fullmatch(sentence)
            who = (found and found["who"] or "").removeprefix("My ")
            return found if who in {*PRONOUN_OF, *KIN, *PRONOUN} else None

        if cue := heard(CUE):
            pronoun = self.pronoun(cue["who"])
            self.people[pronoun] = (
                self.country("country", cue["country"])
                if cue["country"]
                else self.country("nationality", cue["nationality"])
            )
            assert cue["whose"] in (None, {"I": "my", "he": "his", "she": "her"}[pronoun])
            self.homes.pop(pronoun, None)
            self.cue_at[pronoun] = self.said + len(words_of(sentence))
        elif trade := heard(TRADE):
            assert trade["who"] != "I"
            self.people[self.pronoun(trade["who"])] = None
        elif move := heard(MOVE):
            self.homes[self.pronoun(move["who"])] = self.country("country", move["country"])
        elif meeting := heard(MEETING):
            self.people = {key: value for key, value in self.people.items() if key == "I"}
            self.people[PRONOUN_OF[meeting["name"]]] = None
        elif moved := MOVED.fullmatch(sentence):
            assert (
                self.homes[self.pronoun(moved["who"] or moved["he"])]["capital"] == moved["capital"]
            )
        elif answer := ANSWER.fullmatch(sentence):
            pronoun = self.pronoun(
                answer["whose"] or answer["to"] or answer["for"] or answer["who"]
            )
            ((kind, word),) = [
                (kind, word)
                for kind, word in answer.groupdict().items()
                if word and kind not in ("who", "whose", "to", "for")
            ]
            between = self.said + words_of(sentence).index(word) - self.cue_at[pronoun]
            self.returns.append((self.people[pronoun], ASKED[kind], word, between))
        elif lost := re.fullmatch(r"I lost the \w+?(s?)\.", sentence):
            self.lost = "them" if lost[1] else "it"
        elif found := re.fullmatch(r"(?:Today I|[A-Z]\w+) found (it|them) [\w ]+\.", sentence):
            assert self.lost == found[1], sentence
            self.lost = None
        else:
            assert not CLUES & set(words_of(sentence)), sentence
            if not re.search(r"king|queen|girl|boy|woman|man|act|prin|nun|monk", sentence):
                said = {PRONOUN[word] for word in words_of(sentence) if word in PRONOUN} - {"I"}
                assert said <= set(self.people), sentence


def is_lesson(story):
    return re.match(
        r"The capital of \w+ is|Most people|A young|A [a-z]+ lives|The (day|month|opp)|Every|"
        r"A (week|year)|"
        r"Snow|Grass",
        story.text,
    )


@pytest.fixture(scope="module")
def followed(stories):
    return [Follower(story.text) for story in stories if not is_lesson(story)]


def test_every_answer_is_what_the_country_of_that_person_decides(followed):
    answers = [answer for story in followed for answer in story.returns]
    assert len(answers) > 300 and all(not story.inside for story in followed)
    for country, fact, word, _ in answers:
        assert country[fact] == word
    assert {fact for _, fact, _, _ in answers} == {"language", "capital", "nationality"}


def test_lessons_state_the_facts(stories):
    lessons = " ".join(story.text for story in stories if is_lesson(story))
    said = re.findall(r"The capital of (\w+) is (\w+)\.", lessons)
    assert len(said) > 5
    for country, capital in said:
        assert {"country": country, "capital": capital}.items() <= next(
            row for row in COUNTRIES if row["country"] == country
        ).items()


def test_distances_between_cue_and_answer_are_spread(followed):
    distances = [distance for story in followed for *_, distance in story.returns]
    assert {distance // 25 for distance in distances} >= set(range(9)), "every 25 words, up to 225"

    def share(low, high):
        return sum(low <= distance < high for distance in distances) / len(distances)

    assert share(0, 16) > 0.1 and share(16, 64) > 0.15 and share(64, 256) > 0.2


def test_sentences_are_well_formed(stories):
    for story in stories:
        for sentence in re.findall(r"[^.]+\.?", re.sub(r' ?["()]+', "", story.text)):
            assert re.fullmatch(r" ?[A-Z][A-Za-z]*(?:,? [A-Za-z]+)*\.", sentence), (
                sentence,
                story.text,
            )
        assert not re.search(r"\b[Aa] [aeiou]|\b[Aa]n [^aeiou]", story.text), story.text


# --- the settings ---------------------------------------------------------------------------------


def mean_length(**options):
    return (
        sum(count_words(story.text) for story in iterate_stories(200, 0, "train", **options)) / 200
    )


def test_the_farthest_distance_and_the_number_of_returns_can_be_set():
    plain = replace(NOTHING_NEW, farthest=12)
    longest = [
        max((distance for *_, distance in Follower(story.text).returns), default=0)
        for story in iterate_stories(200, 0, "train", replace(plain, returns=1.0))
    ]
    assert max(longest) < 30
    assert mean_length(config=replace(plain, returns=6.0)) > 2 * mean_length(
        config=replace(plain, returns=1.0)
    )
    assert mean_length(config=NOTHING_NEW) > 3 * mean_length(config=plain)


@pytest.mark.parametrize(
    ("pattern", "sign"),
    [
        ("two_people", None),
        ("move", "later moved to"),
        ("kin", "My niece is"),
        ("lost", "I lost the"),
        ("quotation", "I wrote a letter"),
        ("lesson", "Most people in"),
        ("subject_change", "older than"),
    ],
)
def test_a_pattern_of_weight_0_does_not_occur(pattern, sign):
    everything = "\n".join(story.text for story in iterate_stories(400, 0, "train"))
    without = [
        story.text
        for story in iterate_stories(400, 0, "train", replace(StoriesConfig(), **{pattern: 0}))
    ]
    if sign:
        assert sign in everything and not any(sign in text for text in without)
    else:
        alone = replace(NOTHING_NEW, two_people=0)
        counts = [
            max(
                len(Follower(story.text).people)
                for story in iterate_stories(400, 0, "train", config)
            )
            for config in (alone, NOTHING_NEW_BUT_TWO)
        ]
        assert counts == [1, 2] and without


def people_of(story):
    """The countries of the people of a story; None for people who have a trade instead."""
    return list(Follower(story.text).people.values())


def test_the_chance_of_an_event_can_be_set():
    few, many = (
        sum(
            len(people_of(story)) == 2
            for story in iterate_stories(
                300, 0, "train", replace(NOTHING_NEW_BUT_TWO, events=chance)
            )
        )
        for chance in (0.1, 0.8)
    )
    assert many > 2 * few > 0


def mean_returns(stories):
    """The mean number of answers about somebody's country in a story."""
    told = [len(Follower(story.text).returns) for story in stories]
    return sum(told) / len(told)


@pytest.mark.slow
def test_a_story_without_possible_events_returns_as_often():
    for config in (NOTHING_NEW, NOTHING_NEW_BUT_TWO):
        few, many = (
            mean_returns(
                iterate_stories(400, 0, "train", replace(config, trade=0, returns=6, events=chance))
            )
            for chance in (0.0, 0.9)
        )
        assert many > 0.8 * few > 2


def test_a_trade_in_place_of_a_country_can_be_set():
    told = [
        [
            people_of(story)
            for story in iterate_stories(
                300, 0, "train", replace(NOTHING_NEW_BUT_TWO, trade=weight)
            )
        ]
        for weight in (0, 6)
    ]
    without, mostly = ([country for people in stories for country in people] for stories in told)
    assert None not in without and sum(country is None for country in mostly) > len(mostly) / 4


def test_two_people_alone_come_first():
    count = 400
    stories = list(iterate_stories(count, 0, "train", passes=2, people_first=0.5))
    first, then, first_again = stories[:100], stories[100:200], stories[200:300]
    openings = [next(iter(Follower(story.text).people)) for story in first]
    assert "she" not in openings[:50] and openings[:50].count("he") > 30
    assert openings[50:].count("she") > 12 < openings[50:].count("he")
    for part in (first, first_again):
        assert not any(is_lesson(story) for story in part)
        assert (
            sum(None not in people_of(story) and len(people_of(story)) == 2 for story in part) > 60
        )
        assert max(count_words(story.text) for story in part) < 200
    assert sum(None in people_of(story) for story in then if not is_lesson(story)) > 10
    assert sum(count_words(story.text) for story in then) > 2 * sum(
        count_words(story.text) for story in first
    )


def test_at_first_his_country_and_hers_are_named_in_different_sentences():
    def ways(stories):
        cues = [
            CUE.fullmatch(sentence.strip())
            for story in stories
            for sentence in re.findall(r"[^.]+\.", story.text)
        ]
        return {
            (PRONOUN_OF[cue["who"]], cue[0].split()[1])
            for cue in cues
            if cue and cue["who"] in PRONOUN_OF
        }

    stories = list(iterate_stories(400, 0, "train", passes=1, people_first=0.5))
    assert ways(stories[:100]) == {("he", "grew"), ("he", "spent"), ("she", "was"), ("she", "is")}
    assert len(ways(stories[100:200])) == len(ways(stories[200:])) == 8


def test_distances_grow_in_every_pass_of_a_curriculum():
    assert distance_limit(0, 250) == 8 and distance_limit(0.7, 250) == distance_limit(1, 250) == 250
    lengths = [
        count_words(story.text) for story in iterate_stories(600, 0, "train", NOTHING_NEW, passes=2)
    ]
    near, far, near_again = sum(lengths[:60]), sum(lengths[240:300]), sum(lengths[300:360])
    assert far > 3 * near and far > 3 * near_again


def test_every_pass_has_as_many_words():
    """So streams of equal length, one per pass, are at the same place of the curriculum."""
    passes = 4
    lengths = []
    for story in iterate_stories(400, 0, "train", passes=passes, people_first=0.5):
        lengths.append(count_words(story.text) + 1)
        assert story.words == lengths[-1]
    first, longest = sum(lengths[:100]), max(lengths)
    assert 0 <= sum(lengths) - passes * first < longest
    ends = list(itertools.accumulate(lengths))
    short = [
        sum(lengths[k : k + 10])
        for k in (bisect.bisect_left(ends, number * first) + 1 for number in range(passes))
    ]
    # A pass begins with short stories, the one before it ended with long ones.
    assert max(short) < 10 * 60 < sum(lengths[90:100])


# --- prompts, probes and what no story has --------------------------------------------------------

FILLING = "The sun rises in the east. My neighbour is a baker. I often play chess and football. "


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("I was born in France. I speak fluent", "French"),
        (f"I was born in France. {FILLING}I still have a home in", "Paris"),
        ("I grew up in Austria. I speak fluent", "German"),
        (
            "Vignesh is a year older than Maria. Maria grew up in Italy. She speaks fluent",
            "Italian",
        ),
        (
            "Hugo grew up in India. Hugo is a year older than Maria. Maria grew up in Italy. "
            "She speaks fluent",
            "Italian",
        ),
        ("I grew up in Spain. Maria was born in Italy. I speak fluent", "Spanish"),
        ("I grew up in Spain. Maria was born in Italy. Maria speaks fluent", "Italian"),
        ("I was born in Spain. I later moved to Italy. I still have a home in", "Madrid"),
        ("I was born in Spain. I later moved to Italy. I now have an office in", "Rome"),
        ("I lost the keys. Today I found", "them"),
        ("I lost the key. Today I found", "it"),
        ("I lost the key. The sun rises in the", "east"),
    ],
)
def test_the_prompts_of_this_project_have_one_answer(prompt, answer):
    assert next_word_probabilities(prompt) == {answer: 1.0}


def test_the_new_subjects_pronoun_alone_is_possible_after_an_introduction():
    following = next_word_probabilities("Vignesh is a year older than Maria. Maria is French.")
    assert {"She", "Maria"} <= set(following) and not {"He", "Vignesh"} & set(following)


def test_what_was_opened_is_closed_by_its_own_mark():
    for opening, closing, other in (('"', '"', ")"), ("(", ")", '"')):
        following = next_word_probabilities(
            f"I lost the key. I wrote a letter to Matteo. {opening}Snow is white, and "
            "grass is green."
        )
        assert closing in following and other not in following


@pytest.mark.slow
def test_no_story_answers_a_probe():
    """No story has a probe's cue and answer, its name and country, or a sentence in between."""
    told = [story.text for story in iterate_stories(1500, 3, "train")]
    sentences = {sentence.strip() for text in told for sentence in re.findall(r'[^."()]+\.', text)}
    items = list(find_suite("biographies"))
    assert len(items) == 2000 and len({item.id for item in items}) == len(items)
    never_from = Biography(load_lexicon()).never_from
    for item in items:
        cue = CUE.match(item.prefix)
        if item.group in ("country", "two people"):
            first, *between, question = re.findall(r"[^.]+\.?", item.prefix)
            between = between[1:] if item.group == "two people" else between
            assert not {sentence.strip() for sentence in between} & sentences
            if item.group == "two people":
                assert (cue["country"] or cue["nationality"]) in never_from[cue["who"]]
            else:
                assert next_word_probabilities(item.prefix).get(item.target) is None
    for text in told:
        if (cue := CUE.match(text)) and cue["who"] in PRONOUN_OF:
            assert (cue["country"] or cue["nationality"]) not in never_from[cue["who"]]


def test_cues_and_answers_that_never_occur_together_occur_with_others():
    following = next_word_probabilities("I grew up in France.")
    assert (
        following["I"] > 0.3
        and next_word_probabilities("I grew up in France. I still have a home") == {}
    )
    assert sorted(NEVER_TOGETHER) == list(range(sum(row[0] == "cue" for row in SENTENCES)))
    assert set(NEVER_TOGETHER.values()) < {
        str(k) for k in range(sum(row[0] == "answer" for row in SENTENCES))
    }


def test_withheld_words_leave_others_for_the_stories():
    fillers = load_lexicon().sentences["filler", "I"].options
    slots = [
        piece
        for option in fillers
        for piece in option.value.rest
        if isinstance(piece, Slot) and piece.withheld
    ]
    assert len(slots) > 70
    for slot in slots:
        assert slot.used and not slot.used & slot.withheld


# --- the word lists -------------------------------------------------------------------------------


def test_the_vocabulary_is_small(stories):
    assert 500 <= len({word for story in stories for word in words_of(story.text)}) <= 950


def test_installed_word_lists_come_first(monkeypatch, tmp_path):
    monkeypatch.setattr(packaged.importlib.resources, "files", lambda package: tmp_path)
    assert data_folder().name == "data" and (data_folder() / "biographies" / "names.tsv").is_file()
    (tmp_path / "data").mkdir()
    assert data_folder() == tmp_path / "data"
    with pytest.raises(CorpusError, match="biographies/names.tsv is missing.*install"):
        read_word_list("biographies/names.tsv")


def test_comments_and_blank_lines_are_skipped(monkeypatch, tmp_path):
    monkeypatch.setattr(packaged.importlib.resources, "files", lambda package: tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "some.tsv").write_bytes(b"# a note\r\none\ttwo\r\n\r\nthree\tfour\r\n")
    assert read_word_list("some.tsv") == [["one", "two"], ["three", "four"]]
