"""The biographies: the facts in them hold, and they are the same everywhere."""

import hashlib
import itertools
import re
from collections import Counter

import pytest

from lstm_lm.corpus import biographies, story_lexicon, word_lists
from lstm_lm.corpus.biographies import FACTS, SPLITS, identity, iterate_stories, next_word_probabilities
from lstm_lm.corpus.story_lexicon import PRONOUN_FORMS, load_lexicon
from lstm_lm.corpus.word_lists import data_folder, read_word_list
from lstm_lm.errors import CorpusError

WORD_OR_MARK = re.compile(r"\w+|[^\w\s]")
COUNTRY_COLUMNS, *COUNTRY_ROWS = read_word_list("biographies/countries.tsv")
COUNTRIES = [dict(zip(COUNTRY_COLUMNS, row, strict=True)) for row in COUNTRY_ROWS]
PRONOUN_OF = dict(read_word_list("biographies/names.tsv")[1:])
GOLDEN = "7eccb7bb1a294c127a641a948bc853fb1c6d5977e475f8ebf7ef0032622c348d"
CLUES = {word for country in COUNTRIES for word in country.values()}
FILLERS = [row[3] for row in read_word_list("biographies/sentences.tsv") if row[0] == "filler"]


@pytest.fixture(scope="module")
def stories():
    return list(iterate_stories(300, seed=0, split="train"))


def words_of(text):
    return [word for word in WORD_OR_MARK.findall(text) if word[0].isalnum()]


# --- the same everywhere -------------------------------------------------------------------------------------------


def test_a_seed_tells_the_same_stories_on_every_machine(stories):
    text = "\n".join(story.text for story in stories[:5])
    assert hashlib.sha256(text.encode()).hexdigest() == GOLDEN, text


def test_fewer_stories_are_the_beginning_of_more(stories):
    assert list(iterate_stories(20, 0, "train")) == stories[:20]
    assert list(iterate_stories(0, 0, "train")) == []


def test_splits_and_seeds_differ():
    beginnings = {tuple(iterate_stories(20, seed, split)) for seed in (0, 1) for split in SPLITS}
    assert len(beginnings) == 6


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="'dev'.*train, valid, test"):
        next(iterate_stories(1, 0, "dev"))


def test_identity_follows_the_word_lists(monkeypatch):
    before = identity()
    assert before == identity() and len(before) == 64
    monkeypatch.setattr(biographies, "read_word_list_text", lambda name: "other words")
    assert identity() != before


# --- the facts hold ------------------------------------------------------------------------------------------------


def test_the_countries():
    assert 25 <= len(COUNTRIES) <= 30 and COUNTRY_COLUMNS == ["country", "nationality", "language", "capital"]
    for column in ("country", "nationality", "capital"):
        assert len({country[column] for country in COUNTRIES}) == len(COUNTRIES)
    assert all(re.fullmatch("[A-Z][a-z]+", word) for word in CLUES)
    facts = {country["country"]: tuple(country.values())[1:] for country in COUNTRIES}
    assert facts["France"] == ("French", "French", "Paris")
    assert facts["Italy"] == ("Italian", "Italian", "Rome")
    assert facts["Austria"] == ("Austrian", "German", "Vienna")
    assert facts["Brazil"] == ("Brazilian", "Portuguese", "Brasilia")
    assert {"Germany", "Spain", "Japan", "Portugal", "India"} <= set(facts)


def test_names_are_names_only():
    assert Counter(PRONOUN_OF.values()) == {"he": 60, "she": 60}
    assert PRONOUN_OF["Vignesh"] == "he" and PRONOUN_OF["Maria"] == "she"
    texts = [row[1] for row in read_word_list("biographies/words.tsv")] + [row[3] for row in
             read_word_list("biographies/sentences.tsv")]
    others = {word.lower() for word in itertools.chain(CLUES, *map(words_of, texts))}
    assert not others & {name.lower() for name in PRONOUN_OF}


def filler_words():
    """Every word that a filler can say, names aside, and the columns that fillers draw from."""
    literals = {word for template in FILLERS for word in words_of(re.sub(r"\{[^}]*\}", " ", template))}
    slots = {slot.split()[-1] for template in FILLERS for slot in re.findall(r"\{([^}/]*)\}", template)}
    slots -= set(PRONOUN_FORMS["I"])
    verbs = {word for template in FILLERS for slot in re.findall(r"\{([^}]*/[^}]*)\}", template)
             for word in slot.split("/")}
    lists = {word for _, rows in read_word_list("biographies/words.tsv") for word in words_of(rows)}
    return literals | verbs | lists, slots


def test_no_filler_carries_a_clue():
    words, columns = filler_words()
    assert len(FILLERS) >= 80 and len(set(FILLERS)) == len(FILLERS)
    assert not columns & {"country", *FACTS}
    assert not {word.lower() for word in words} & {word.lower() for word in CLUES}


def test_every_slot_can_be_filled_and_every_article_is_right():
    tables = {column for columns, _ in read_word_list("biographies/words.tsv") for column in columns.split("/")}
    _, columns = filler_words()
    assert columns <= tables | {"name"}
    drawn = [option.text for (_, article), choices in load_lexicon().words.items() if not article
             for option in choices.options]
    assert not [word for word in drawn if re.match("(?i)hour|hon|heir|uni|use|usu(?!ally)|eu|one", word)]
    assert story_lexicon.with_article("engineer") == "an engineer" and story_lexicon.with_article("nurse") == "a nurse"


# How the sentences that matter read, written down again, apart from the word lists and the grammar.
NAMED = r"(?P<who>I|[A-Z]\w+)"
CUE = re.compile(NAMED + r" (?:(?:grew up in|was born in|spent (?P<whose>my|his|her) childhood in) (?P<country>\w+)"
                 r"|(?:am|is) (?P<nationality>[A-Z]\w+))\.")
MEETING = re.compile(NAMED + r" (?:(?:am|is) (?:a year older than|\w+ years younger than|married to)|shares? an office "
                     r"with|often plays? \w+ with|went to school with) (?P<name>[A-Z]\w+)\.")
ANSWER = re.compile(r"(?P<who>I|My|He|His|She|Her) (?:speaks? fluent (?P<language>\w+)|still dreams? in (?P<dream>\w+)"
                    r"|still ha(?:ve|s) a home in (?P<capital>\w+)|often fl(?:y|ies) back to (?P<back>\w+)"
                    r"|passport is (?P<nationality>\w+)|will always be (?P<heart>\w+) at heart)\.")
ASKED = {"language": "language", "dream": "language", "capital": "capital", "back": "capital",
         "nationality": "nationality", "heart": "nationality"}


def follow(text):
    """Reads a story as a person does; yields (cue's country, fact, word said, words in between) for every answer."""
    people, cue_at, said, topic_pronoun = {}, {}, 0, None
    for sentence in re.findall(r"[^.]+\.", text):
        sentence, start = sentence.strip(), said
        said += len(words_of(sentence))
        if cue := CUE.fullmatch(sentence):
            pronoun = "I" if cue["who"] == "I" else PRONOUN_OF[cue["who"]]
            people = {key: value for key, value in people.items() if key == "I"}
            people[pronoun], = [country for country in COUNTRIES
                                if cue["country"] == country["country"] or cue["nationality"] == country["nationality"]]
            assert cue["whose"] in (None, {"I": "my", "he": "his", "she": "her"}[pronoun])
            cue_at[pronoun], topic_pronoun = said, pronoun
        elif answer := ANSWER.fullmatch(sentence):
            topic_pronoun = {"I": "I", "My": "I", "He": "he", "His": "he", "She": "she", "Her": "she"}[answer["who"]]
            (kind, word), = [(kind, word) for kind, word in answer.groupdict().items() if word and kind != "who"]
            before = start + words_of(sentence).index(word) - cue_at[topic_pronoun]
            yield people[topic_pronoun], ASKED[kind], word, before
        elif not MEETING.fullmatch(sentence):
            assert not CLUES & set(words_of(sentence)), sentence
            foreign = {"I": set(),
                       "he": {"She", "Her", "I", "My", "my", "me"}, "she": {"He", "His", "I", "My", "my", "me"}}
            assert not foreign[topic_pronoun] & set(words_of(sentence)), (topic_pronoun, sentence)


def test_every_answer_is_what_the_country_of_that_person_decides(stories):
    answers = [answer for story in stories for answer in follow(story.text)]
    assert len(answers) > 2 * len(stories)
    for country, fact, word, _ in answers:
        assert country[fact] == word
    assert {fact for _, fact, _, _ in answers} == set(FACTS)


def test_every_story_gives_an_answer_and_repeats_no_filler(stories):
    for story in stories:
        assert list(follow(story.text))
        fillers = [sentence for sentence in re.findall(r"[^.]+\.", story.text) if not CLUES & set(words_of(sentence))]
        assert len(set(fillers)) == len(fillers)


def test_distances_between_cue_and_answer_are_spread(stories):
    distances = [distance for story in stories for *_, distance in follow(story.text)]
    assert {distance // 10 for distance in distances} >= set(range(12)), "every ten words, up to 120"

    def share(low, high):
        return sum(low <= distance < high for distance in distances) / len(distances)

    assert 0.3 < share(0, 10) < 0.5, "many answers follow at once, so that learning starts fast"
    assert share(20, 60) > 0.15 and share(60, 1000) > 0.08


def test_sentences_are_well_formed(stories):
    for story in stories:
        assert re.fullmatch(r"(?:[A-Z][A-Za-z]*(?:,? [A-Za-z]+)*\.)(?: [A-Z][A-Za-z]*(?:,? [A-Za-z]+)*\.)*", story.text)
        assert not re.search(r"\b[Aa] [aeiou]|\b[Aa]n [^aeiou]", story.text), story.text


def test_relatives_agree_with_their_pronouns(stories):
    tables = {columns: rows for columns, rows in read_word_list("biographies/words.tsv")}
    pronoun_of = {row.split("/")[0]: row.split("/")[1] for row in tables["relative/they/their/them"].split(", ")}
    found = [match for story in stories
             for match in re.findall(rf"({'|'.join(pronoun_of)}) [^.,]*, and (he|she) ", story.text)]
    assert len(found) > 30 and all(pronoun_of[relative] == pronoun for relative, pronoun in found)


FILLING = "The sun rises in the east. My mother is a nurse, and she has a cat. I play chess with Anna every Sunday. "


@pytest.mark.parametrize(("prompt", "answer"), [
    ("I grew up in France. I speak fluent", "French"),
    (f"I grew up in France. {FILLING}I still have a home in", "Paris"),
    (f"I grew up in Italy. {FILLING}I still have a home in", "Rome"),
    ("I grew up in Austria. I speak fluent", "German"),
    ("Vignesh is a year older than Maria. Maria is French. She speaks fluent", "French"),
    ("Vignesh grew up in India. Vignesh is a year older than Maria. Maria is French. She speaks fluent", "French"),
    ("I grew up in Spain. I am a year older than Maria. Maria is French. I still have a home in", "Madrid"),
    ("The sun rises in the", None)])
def test_the_prompts_of_this_project_have_one_answer(prompt, answer):
    if answer is None:  # a filler; it cannot open a story
        prompt, answer = "I grew up in France. " + prompt, "east"
    assert next_word_probabilities(prompt) == {answer: 1.0}


def test_the_names_pronoun_alone_is_possible_after_an_introduction():
    following = next_word_probabilities("Vignesh is a year older than Maria. Maria is French.")
    assert "She" in following and "Her" in following and not {"He", "His", "I", "My", "Vignesh"} & set(following)


# --- the word lists ------------------------------------------------------------------------------------------------


def test_the_vocabulary_is_small(stories):
    words, _ = filler_words()
    assert 500 <= len(words | CLUES | set(PRONOUN_OF)) <= 950


def test_installed_word_lists_come_first(monkeypatch, tmp_path):
    monkeypatch.setattr(word_lists.importlib.resources, "files", lambda package: tmp_path)
    assert data_folder().name == "data" and (data_folder() / "biographies" / "names.tsv").is_file()
    (tmp_path / "data").mkdir()
    assert data_folder() == tmp_path / "data"
    with pytest.raises(CorpusError, match="biographies/names.tsv is missing.*install"):
        read_word_list("biographies/names.tsv")


def test_comments_and_blank_lines_are_skipped(monkeypatch, tmp_path):
    monkeypatch.setattr(word_lists.importlib.resources, "files", lambda package: tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "some.tsv").write_bytes(b"# a note\r\none\ttwo\r\n\r\nthree\tfour\r\n")
    assert read_word_list("some.tsv") == [["one", "two"], ["three", "four"]]
