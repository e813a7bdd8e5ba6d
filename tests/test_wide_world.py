"""The wide world of the stories: right facts, right agreement, nothing that a suite asks."""

import hashlib
import math
import re
from collections import Counter
from dataclasses import replace

import pytest

from lstm_lm.config import CorpusConfig, StoriesConfig
from lstm_lm.corpus.corpus import Corpus
from lstm_lm.files.packaged import data_folder, read_word_list
from lstm_lm.probes.suites import find_suite
from lstm_lm.stories.biographies import (
    iterate_stories,
    log_probability_of,
    next_word_probabilities,
    source_nll,
)
from lstm_lm.stories.blocks import Plan
from lstm_lm.stories.grammar import count_words
from lstm_lm.stories.lexicon import load_lexicon, with_article
from lstm_lm.stories.writing import iterate_blocks

WIDE = StoriesConfig(world="wide")
ALONE = StoriesConfig(
    world="wide",
    two_people=0,
    subject_change=0,
    move=0,
    kin=0,
    lost=0,
    quotation=0,
    lesson=0,
    memo=0,
    trade=0,
)
FOLDERS = ("biographies", "biographies/wide")
COLUMNS = read_word_list("biographies/countries.tsv")[0]
COUNTRIES = [
    dict(zip(COLUMNS, row, strict=True))
    for folder in FOLDERS
    for row in read_word_list(f"{folder}/countries.tsv")[1:]
]
BY_NAME = {row["country"]: row for row in COUNTRIES}
SENTENCES = [row for folder in FOLDERS for row in read_word_list(f"{folder}/sentences.tsv")]
LISTS = dict(read_word_list("biographies/wide/words.tsv"))
PRONOUNS = dict(row for folder in FOLDERS for row in read_word_list(f"{folder}/names.tsv")[1:])
GOLDEN = "7dc0a8ca4d93739c"
SHIPPED = "agreement capital language nationality pronoun subject quotes story".split()


@pytest.fixture(scope="module")
def stories():
    return [story.text for story in iterate_stories(400, 0, "train", WIDE)]


def words_of(text):
    return re.findall(r"\w+", text)


def test_a_seed_gives_the_same_stories_on_every_machine(stories):
    text = "\n".join(stories[:20])
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == GOLDEN, text


def test_the_story_of_the_readme_is_one():
    readme = (data_folder() / "README.md").read_text(encoding="utf-8")
    story = readme.split("A story of the wide world:\n\n```text\n")[1].split("```")[0]
    story = " ".join(story.split())
    assert log_probability_of(story, WIDE) > log_probability_of(story) == -math.inf


# --- the facts ------------------------------------------------------------------------------------


def test_the_countries():
    assert len(COUNTRIES) >= 100
    for column in ("country", "nationality", "capital"):
        assert len({row[column] for row in COUNTRIES}) == len(COUNTRIES)
    for row in COUNTRIES:
        for column in ("country", "nationality", "language", "capital"):
            assert re.fullmatch("[A-Z][a-z]+", row[column])
        assert re.fullmatch("[a-z]+", row["currency"])
    continents = Counter(row["continent"] for row in COUNTRIES)
    assert set(continents) == {
        "Africa",
        "Asia",
        "Europe",
        "North America",
        "Oceania",
        "South America",
    }
    assert min(continents.values()) >= 3


@pytest.mark.parametrize(
    "fact",
    [
        "France French French Paris Europe euro",
        "England English English London Europe pound",
        "Switzerland Swiss German Bern Europe franc",
        "Australia Australian English Canberra Oceania dollar",
        "Kenya Kenyan Swahili Nairobi Africa shilling",
        "Pakistan Pakistani Urdu Islamabad Asia rupee",
        "Canada Canadian English Ottawa North_America dollar",
        "Brazil Brazilian Portuguese Brasilia South_America real",
        "Croatia Croatian Croatian Zagreb Europe euro",
        "Kazakhstan Kazakh Kazakh Astana Asia tenge",
    ],
)
def test_some_facts(fact):
    words = [word.replace("_", " ") for word in fact.split()]
    assert list(BY_NAME[words[0]].values()) == words


def test_names_are_no_other_words():
    assert set(Counter(PRONOUNS.values())) == {"he", "she"} and len(PRONOUNS) > 100
    lists = [rows for folder in FOLDERS for _, rows in read_word_list(f"{folder}/words.tsv")]
    others = {word for text in [*lists, *(row[3] for row in SENTENCES)] for word in words_of(text)}
    facts = {word for row in COUNTRIES for word in row.values()}
    assert not (others | facts) & set(PRONOUNS)


def test_no_filler_gives_a_clue():
    facts = {word.lower() for row in COUNTRIES for word in row.values()}
    lexicon = load_lexicon("wide")
    for option in lexicon.sentences["filler", "I"].options:
        said = [option.text]
        for piece in option.value.rest:
            if isinstance(piece, str):
                said.append(piece)
            elif (piece.column, piece.article) in lexicon.words:
                assert piece.column not in COLUMNS
                said += [word.text for word in lexicon.words[piece.column, False].options]
        assert not facts & {word.lower() for word in words_of(" ".join(said))}


def test_articles_follow_the_sound():
    assert with_article("Ukrainian") == "a Ukrainian" and with_article("Uzbek") == "an Uzbek"


# --- many ways to say it --------------------------------------------------------------------------


def test_there_are_many_cues_and_many_ways_to_ask_for_each_fact():
    said = {(role, template) for role, _, weight, template in SENTENCES if weight != "0"}
    cues = [template for role, template in said if role in ("cue", "cue inside", "apposition")]
    assert len(cues) >= 30
    assert all(re.search(r"\{country\}|nationality\}", template) for template in cues)
    for column in ("capital", "language", "nationality", "continent", "currency"):
        answers = [t for role, t in said if role == "answer" and re.search(rf"{column}}}", t)]
        assert len(answers) >= 6, column
        assert any(not re.search(rf"{column}}}\.\*?$", t) for t in answers), "only at the end"


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("I grew up in Norway. I own a small house in", "Oslo"),
        ("I come from Kenya. I still have a home in", "Nairobi"),
        ("Born and raised in Chile, I am far from home today. I speak fluent", "Spanish"),
        ("The nurse, a woman from Norway, put", "her"),
        ("The nurse, a Kenyan man, came by bus today. The nurse speaks fluent", "Swahili"),
        ("My room number is 417. I sleep in room", "417"),
        ("I am reading a book called The Silent River. I have finished The", "Silent"),
        ("I am reading a book called The Silent River. I have finished The Silent", "River"),
        ("I come from Peru. I miss the roads of", "South"),
        ("I come from Peru. I miss the roads of South", "America"),
        ("I grew up in Fiji. When I go home, I need the", "dollar"),
    ],
)
def test_what_was_said_decides_what_follows(prompt, answer):
    assert next_word_probabilities(prompt, WIDE) == {answer: 1.0}


def test_a_life_has_the_facts_of_one_country():
    """Read without the grammar: all facts that a story of one person names fit one country."""
    columns_of = {}
    for row in COUNTRIES:
        for column, word in row.items():
            columns_of.setdefault(word, set()).add(column)
    found = Counter()
    for story in iterate_stories(300, 3, "train", ALONE):
        # one word for each continent of two
        text = re.sub("(North|South) (America)", r"\1_\2", story.text)
        possible = COUNTRIES
        for word in {word.replace("_", " ") for word in words_of(text)} & set(columns_of):
            columns = columns_of[word]
            possible = [row for row in possible if word in (row[column] for column in columns)]
            found.update(columns)
        assert possible, text
    assert set(found) == set(COLUMNS) and min(found.values()) > 50


def test_the_pronoun_of_a_role_is_the_one_of_its_introduction():
    forms = {"woman": {"she", "her"}, "man": {"he", "his", "him"}}
    seen = Counter()
    for story in iterate_stories(800, 4, "train", replace(ALONE, narrator=0, trade=1)):
        if role := re.match(r"The \w+,? [^.]*\b(woman|man)\b[^.]*\.", story.text):
            # fillers about kings and queens have pronouns of their own
            figures = "king|queen|girl|boy|woman|man|actress|actor|prince|princess|nun|monk"
            rest = re.sub(rf"The (?:\w+ )?(?:{figures}) [^.]*\.", "", story.text[role.end() :])
            said = {word.lower() for word in words_of(rest)}
            for gender in forms:
                seen[role[1], gender] += bool(said & forms[gender])
    assert seen["woman", "woman"] > 20 and seen["man", "man"] > 20
    assert seen["woman", "man"] == seen["man", "woman"] == 0


# --- what is said once and said again -------------------------------------------------------------


def test_a_memo_is_said_again_as_it_was(stories):
    again = Counter()
    for text in stories:
        rooms = re.findall(r"room (?:number is )?(\d+)", text)
        lines = re.findall(r"us number (\d+)", text)
        for numbers in (rooms, lines):
            assert len(set(numbers)) <= 1, text
            again[len(numbers) > 1] += 1
        titles = re.findall(r"(?:called|finished|In|gave) (The [A-Z]\w+ [A-Z]\w+)", text)
        assert len(set(titles)) <= 1, text
        again["title"] += len(titles) > 1
    assert again[True] > 15 and again["title"] > 5


def test_a_weight_of_0_turns_memos_off(stories):
    sign = re.compile(r"room \d|us number|called [A-Z]|film [A-Z]")
    assert sum(bool(sign.search(text)) for text in stories) > 40
    without = iterate_stories(300, 0, "train", replace(WIDE, memo=0))
    assert not any(sign.search(story.text) for story in without)


# --- agreement ------------------------------------------------------------------------------------


def pairs_of(column):
    (rows,) = [rows for heading, rows in LISTS.items() if heading.split("/")[0] == column]
    return [row.split("/") for row in rows.split(", ")]


def test_the_verb_agrees_with_the_head_of_its_subject(stories):
    """The first noun decides; those between it and the verb can have another number."""
    heads = [it for column in ("noun", "component", "artwork", "owner") for it in pairs_of(column)]
    verbs = [it for column in ("predicate", "remark", "activity") for it in pairs_of(column)]
    seen = Counter()
    for text in stories:
        for sentence in re.findall(r"The [^.]*", text):
            head = {n for pair in heads for n in (0, 1) if sentence.startswith(f"The {pair[n]} ")}
            verb = {n for pair in verbs for n in (0, 1) if sentence.endswith(f" {pair[n]}")}
            if head and verb:
                assert head == verb, sentence
                seen[min(head), sentence.count(" the ")] += 1
    assert {count for _, count in seen} >= {1, 2, 3, 4}
    assert min(seen[0, 1], seen[1, 1]) > 50


# --- nothing that a suite asks --------------------------------------------------------------------


@pytest.mark.parametrize("suite", [*SHIPPED, pytest.param("biographies", marks=pytest.mark.slow)])
def test_no_story_has_the_text_from_a_clue_to_its_question(suite):
    """Neither at its beginning nor later; all but the controls, which are plain facts."""
    asked = 0
    for number, item in enumerate(find_suite(suite)):
        is_plain = not item.distance or item.group == "sun"
        is_short = len(item.prefix) < 200 and suite != "biographies"
        if not is_plain and number % (2 if is_short else 29) == 0:
            asked += 1
            for before in ("", "My room number is 417. "):
                assert item.target not in next_word_probabilities(before + item.prefix, WIDE)
    assert asked >= 10


def test_what_is_kept_apart_is_said_with_other_words():
    for prompt in (
        "I grew up in France.",
        "My mother is a nurse.",
        "I lost the keys.",
        "My room number is 417. I lost the ring. The stamp",
    ):
        assert next_word_probabilities(prompt, WIDE)
    following = next_word_probabilities("I grew up in France. I still", WIDE)
    assert following == {}
    assert "have" in next_word_probabilities("I come from France. I still", WIDE)


def test_the_wide_world_withholds_what_the_small_one_withholds():
    """The suite `biographies` is made from the small world."""
    worlds = [load_lexicon(world).sentences["filler", "I"].options for world in ("small", "wide")]
    wide = {option.group: option for option in worlds[1]}
    compared = 0
    for option in worlds[0]:
        if option.group not in wide:
            continue
        for piece, other in zip(option.value.rest, wide[option.group].value.rest, strict=True):
            assert piece == other or piece.withheld <= other.withheld
            compared += piece != other
    assert compared > 15


def test_the_words_of_the_suites_are_words_of_the_wide_world():
    lexicon = load_lexicon("wide")
    known = {"Every", "January"}
    for choices in lexicon.words.values():
        for option in choices.options:
            known |= set(words_of(option.text))
    for choices in [*lexicon.sentences.values(), *lexicon.people.values()]:
        for option in choices.options:
            pieces = getattr(option.value, "rest", ())
            texts = [option.text, *(piece for piece in pieces if isinstance(piece, str))]
            known |= {word for text in texts for word in words_of(text)}
    for suite in SHIPPED:
        for item in find_suite(suite):
            asked = {item.target, item.foil, *words_of(item.prefix)} - {'"', ")"}
            assert asked <= known, asked - known


# --- the stages of a curriculum, processes, settings ----------------------------------------------


def test_distances_grow_and_two_people_come_first():
    stories = list(iterate_stories(400, 0, "train", WIDE, passes=2, people_first=0.5))
    first, far = stories[:100], stories[150:200]
    assert max(count_words(story.text) for story in first) < 300
    assert sum(s.words for s in far) / 50 > 3 * sum(s.words for s in first) / 100
    assert not any(re.search(r"I lost|room \d|once travelled|bus number", s.text) for s in first)
    openings = [re.match(r"\w+", story.text)[0] for story in first[:50]]
    assert not any(PRONOUNS.get(name) == "she" for name in openings)


def test_the_two_are_told_apart_at_first_by_their_sentences():
    ways = {"he": set(), "she": set()}
    for story in list(iterate_stories(600, 0, "train", WIDE, passes=1, people_first=0.5))[:150]:
        for name, way in re.findall(r"(?:^|\. )([A-Z]\w+) ((?:was|grew) [a-z]+)", story.text):
            if name in PRONOUNS:
                ways[PRONOUNS[name]].add(way)
    assert "grew up" in ways["he"] and "was born" in ways["she"]
    assert "grew up" not in ways["she"] and "was raised" not in ways["she"]


def test_the_number_of_processes_does_not_change_the_stories():
    plan = Plan(800, 0, "train", replace(WIDE, parallel=True), passes=4, people_first=0.3)
    alone, together = ([block.text for block in iterate_blocks(plan, n)] for n in (0, 2))
    assert alone == together and len(alone) == 4


def test_a_corpus_knows_the_nll_of_its_source():
    corpus = Corpus(CorpusConfig(source="stories"), replace(WIDE, count=20))
    assert corpus.source_nll("train") == source_nll(20, 0, "train", WIDE) > 0


def test_memos_are_refused_in_the_small_world(command, tmp_path):
    config = tmp_path / "stories.yaml"
    config.write_text("corpus: {source: stories}\nstories: {memo: 3}\n")
    status, _, err = command("train", config, "--dry-run")
    assert status == 2 and "stories.memo" in err and "stories.world" in err
