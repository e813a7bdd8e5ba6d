"""Mixed corpora: how they are laid out, set, counted, trained on, validated and resumed."""

import json
from collections import Counter

import numpy as np
import pytest
import yaml

from lstm_lm.config import config_from_dict, config_to_dict, load_config
from lstm_lm.corpus import mixing
from lstm_lm.corpus.corpus import Corpus
from lstm_lm.corpus.mixing import Ingredient, MixedTokens
from lstm_lm.corpus.sentences import iterate_sentences
from lstm_lm.errors import ConfigError, CorpusError
from lstm_lm.model.scoring import Perplexity
from lstm_lm.training.validation import Validation

EOS = 0


# --- the layout -----------------------------------------------------------------------------------


def lines_of(words):
    """One-word lines, as ids."""
    return np.array([number for word in words for number in (ord(word), EOS)])


def text_of(ids):
    return "".join(chr(number) for number in ids if number)


def test_the_example_of_the_module(monkeypatch):
    monkeypatch.setattr(mixing, "ROUND_TOKENS", 4)
    mix = MixedTokens(
        [Ingredient(lines_of("abcdef")), Ingredient(lines_of("1234"), curricula=1)], 2, EOS
    )
    assert text_of(mix[:]) == "a1b3c" + "d2e4f"
    assert mix.sizes() == [12, 8] and len(mix) == 20


def random_lines(seed, lines, longest, first):
    """Lines of random lengths, whose words are all different."""
    lengths = np.random.default_rng(seed).integers(1, longest, lines)
    words = iter(range(first, first + int(lengths.sum())))
    return np.array([word for n in lengths for word in (*(next(words) for _ in range(n)), EOS)])


@pytest.mark.parametrize("streams", [1, 3, 8])
@pytest.mark.parametrize("curricula", [None, 1, 4])
def test_every_token_is_read_as_often_as_its_source_has_passes(streams, curricula):
    first, second = random_lines(0, 400, 60, 10**5), random_lines(1, 900, 20, 10**6)
    mix = MixedTokens([Ingredient(first, 3), Ingredient(second, 1, curricula)], streams, EOS)
    counts = Counter(mix[:].tolist())
    assert all(counts[word] == 3 for word in first.tolist() if word)
    assert all(counts[word] == 1 for word in second.tolist() if word)
    assert mix.sizes() == [3 * len(first), len(second)]


def test_a_part_of_a_pass_is_its_beginning():
    tokens = random_lines(0, 2000, 30, 10)
    mix = MixedTokens([Ingredient(tokens, 1.5)], 1, EOS)
    counts = Counter(mix[:].tolist())
    cut = next(n for n, word in enumerate(tokens.tolist()) if word and counts[word] == 1)
    assert abs(cut / len(tokens) - 0.5) < 0.05
    assert all(counts[word] == 1 for word in tokens[cut:].tolist() if word)


@pytest.mark.parametrize("start", [0.35, 0.5, 0.7])
@pytest.mark.parametrize("streams", [1, 4])
def test_a_source_may_be_denser_at_the_beginning(start, streams, monkeypatch):
    monkeypatch.setattr(mixing, "ROUND_TOKENS", 150)
    text, stories = random_lines(0, 10_000, 20, 10**6), random_lines(1, 3200, 20, 10)
    others = random_lines(2, 3200, 20, 10**5)  # its share does not change
    size = len(text) + len(stories) + len(others)
    mix = MixedTokens(
        [
            Ingredient(text),
            Ingredient(stories, 1, 4, share_at_start=start),
            Ingredient(others, 1, 4, share_at_start=len(others) / size),
        ],
        streams,
        EOS,
    )
    assert sorted(mix[:].tolist()) == sorted([*text, *stories, *others])
    length = len(mix) // streams
    parts = [mix[n * length : (n + 1) * length] for n in range(streams)]

    def share(low, high, first, last):
        """Of the words between two places of every stream, the share of those of a source."""
        words = np.concatenate([part[int(low * length) : int(high * length)] for part in parts])
        words = words[words != EOS]
        return np.mean((words >= first) & (words < last))

    mean = len(stories) / size
    at_start = share(0, 0.1, 10, 10**5)
    # What the density's formula gives for the first tenth, with room for blocks of whole lines.
    power = (start / mean - 0.25) / 0.75
    first_tenth = mean * (0.25 * 0.1 + 0.75 * (1 - 0.9**power)) / 0.1
    assert at_start == pytest.approx(first_tenth, abs=0.06)
    assert share(0.9, 1, 10, 10**5) < mean * 0.6
    assert share(0, 0.3, 10**5, 10**6) == pytest.approx(share(0.7, 1, 10**5, 10**6), abs=0.03)


def test_any_slice_is_that_of_the_whole():
    mix = MixedTokens(
        [Ingredient(random_lines(0, 300, 50, 10**5), 2), Ingredient(random_lines(1, 300, 50, 10))],
        4,
        EOS,
    )
    whole = mix[:]
    for start, stop in [(0, 1), (5, 5), (17, 4000), (len(mix) - 3, len(mix) + 9), (9000, 9001)]:
        assert mix[start:stop].tolist() == whole[start:stop].tolist()
    assert mix[-7:].tolist() == whole[-7:].tolist()


def test_at_every_place_all_sources_are_read_to_the_same_fraction():
    first, second = random_lines(0, 3000, 60, 10**5), random_lines(1, 4000, 20, 10**6)
    streams = 4
    whole = MixedTokens([Ingredient(first, 2), Ingredient(second, 1, curricula=2)], streams, EOS)[:]
    part = len(whole) // streams
    for stream in range(streams):
        words = whole[stream * part : (stream + 1) * part]
        is_second = words >= 10**6
        read = np.cumsum(is_second) / is_second.sum()
        expected = np.cumsum((words < 10**6) & (words > 0)) / ((words < 10**6) & (words > 0)).sum()
        assert np.abs(read - expected).max() < 0.06


def test_curricula_move_out_together():
    """Three curricula of growing numbers, one after the other: every stream sees them grow once."""
    one = [word for number in range(1, 20001) for word in (number, EOS)]
    tokens, streams = np.array(one * 3), 4
    whole = MixedTokens([Ingredient(tokens, 1, curricula=3)], streams, EOS)[:]
    part = len(whole) // streams
    for stream in range(streams):
        words = whole[stream * part : (stream + 1) * part]
        words = words[words > 0]
        # the streams differ by a block or two, so one can begin with the end of another
        middle = slice(1500, -1500)
        expected = np.linspace(1, 20000, len(words))
        assert np.abs(words - expected)[middle].max() < 2500


def test_blocks_begin_and_end_with_lines():
    first, second = random_lines(0, 300, 60, 10**5), random_lines(1, 300, 20, 10**6)
    whole = MixedTokens([Ingredient(first), Ingredient(second)], 3, EOS)[:]
    of_second = whole >= 10**6
    changes = np.flatnonzero(of_second[1:] != of_second[:-1])
    assert all(EOS in (whole[at], whole[at + 1]) for at in changes)


# --- the settings ---------------------------------------------------------------------------------

FILES = {"corpus": {"source": "files", "text_file": "my.txt"}}


def mix_of(text):
    return config_from_dict(FILES, [f"corpus.mix={text}"]).corpus.mix


def test_a_name_alone_takes_good_defaults():
    [entry] = mix_of("stories")
    assert entry.corpus.source == "stories" and entry.mix.fillers == "corpus"
    assert entry.stories.count == 30_000 and entry.mix.share is None
    assert entry.stories.curriculum and entry.stories.parallel
    assert mix_of("[stories]") == (entry,) == mix_of("[{source: stories}]")


def test_an_entry_has_the_settings_of_its_source():
    stories, files = mix_of(
        "[{source: stories, count: 50, farthest: 30, fillers: own}, "
        "{source: files, train_file: a.txt, valid_file: b.txt, passes: 2.5}]"
    )
    assert (stories.stories.count, stories.stories.farthest) == (50, 30)
    assert (stories.mix.share, stories.mix.fillers) == (None, "own")
    assert (files.corpus.train_file, files.mix.passes) == ("a.txt", 2.5)


@pytest.mark.parametrize(
    "mix",
    [
        "stories",
        "[{source: stories, count: 9, passes: 2, fillers: own}, {source: files, "
        "train_file: [a.txt, b.txt], valid_file: c.txt, share: 0.1, tokenization: whitespace}]",
    ],
)
def test_a_config_is_read_back_as_it_was_written(mix, tmp_path):
    config = config_from_dict(FILES, [f"corpus.mix={mix}"])
    assert config_from_dict(config_to_dict(config)) == config
    assert json.loads(json.dumps(config_to_dict(config)))["corpus"]["mix"]
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(config_to_dict(config)))
    assert load_config(tmp_path / "a.yaml") == config


@pytest.mark.parametrize(
    ("mix", "said"),
    [
        ("[storis]", "corpus.mix[0].source: found 'storis', must be one of stories, hub, files; "
         "did you mean stories?"),
        ("[stories, 3]", "corpus.mix[1]: found 3, must be a source's name or a mapping"),
        ("[{share: 0.3}]", "corpus.mix[0].source: is missing"),
        ("[{source: stories, shares: 0.3}]", "corpus.mix[0].shares: unknown key; did you mean "
         "share?"),
        ("[{source: stories, share: 2}]", "corpus.mix[0].share: found 2, must be a number above 0 "
         "and below 1"),
        ("[{source: stories, dataset: x}]", "corpus.mix[0].dataset: has no effect while source is "
         "stories; remove this setting"),
        ("[{source: stories, tokenization: whitespace}]", "corpus.mix[0].tokenization: has no "
         "effect while source is stories"),
        ("[{source: stories, fillers: own, filler_words: 20}]", "corpus.mix[0].filler_words: has "
         "no effect while fillers is own"),
        ("[{source: stories, fillers: own, fillers_from: 0.5}]", "corpus.mix[0].fillers_from: has "
         "no effect while fillers is own"),
        ("[{source: stories, share: 0.3, count: 5}]", "corpus.mix[0].count: given together with "
         "share"),
        ("[{source: stories, min_count: 3}]", "corpus.mix[0].min_count: holds for the whole mix; "
         "set corpus.min_count"),
        ("[{source: stories, share: 0.3, share_at_start: 0.2}]", "corpus.mix[0].share_at_start: "
         "found 0.2, must be at least share, which is 0.3"),
        ("[{source: stories, share_at_start: 0.2}]", "corpus.mix[0].share_at_start: has no effect"),
        ("[{source: stories, share: 0.3, share_at_start: 0.7}, {source: stories, share: 0.5}]",
         "corpus.mix: the shares at the start add up to 1.2, must be below 1"),
        ("[{source: hub}]", "corpus.mix[0].dataset: found null, must be a data set's name"),
        ("[{source: stories, share: 0.6}, {source: stories, share: 0.5}]", "corpus.mix: the "
         "shares add up to 1.1, must be below 1"),
        ("[{source: files, train_file: a, valid_file: b, fillers: own}]", "corpus.mix[0].fillers: "
         "has no effect while source is files"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(mix, said):
    with pytest.raises(ConfigError) as error:
        mix_of(mix)
    [line] = str(error.value).splitlines()
    assert line.startswith(said)


@pytest.mark.parametrize("setting", ["corpus.passes=2", "training.best_on=files"])
def test_what_only_a_mix_uses_is_refused_without_one(setting):
    with pytest.raises(ConfigError, match="has no effect while corpus.mix is"):
        config_from_dict(FILES, [setting])


def test_stories_alone_have_no_text_for_fillers():
    with pytest.raises(ConfigError, match="corpus.mix: entry 0 has stories with sentences of"):
        config_from_dict({}, ["corpus.mix=stories"])


def test_best_on_must_be_a_source():
    with pytest.raises(ConfigError, match="training.best_on: found 'hub', must be all, files or"):
        config_from_dict(FILES, ["corpus.mix=stories", "training.best_on=hub"])


# --- the corpus -----------------------------------------------------------------------------------

TOKENISED = [
    " = Title = ",
    " The <unk> of the river did n't rise again . Nobody knew why it was @-@ so late . ",
    " A zebra saw seven rivers before the morning came . It went home . ",
]
TEXTS = {
    "whitespace": TOKENISED * 20,
    "words": ["The river did not rise again. Nobody knew why it was so late.", "A zebra ran home."]
    * 20,
}
VALID = {
    "whitespace": [" Only valid has this whole quokka sentence in it . "] * 3,
    "words": ["Only valid has this whole quokka sentence in it."] * 3,
}


@pytest.fixture(params=["whitespace", "words"])
def tokenization(request):
    return request.param


@pytest.fixture
def make_config(tmp_path):
    """A configuration with a text of each split, and a mix."""

    def make(tokenization, mix="[{source: stories, count: 60, farthest: 20}]", *overrides):
        for split, lines in (("train", TEXTS), ("valid", VALID), ("test", VALID)):
            (tmp_path / f"{split}.txt").write_text("\n".join(lines[tokenization]) + "\n")
        corpus = {
            "source": "files",
            "tokenization": tokenization,
            **{f"{split}_file": str(tmp_path / f"{split}.txt") for split in ("train", "valid")},
            "test_file": str(tmp_path / "test.txt"),
        }
        return config_from_dict({"corpus": corpus}, [f"corpus.mix={mix}", *overrides])

    return make


@pytest.fixture
def corpus(make_config, tokenization):
    return Corpus(make_config(tokenization).corpus)


def words_of(corpus, split, source):
    return corpus.vocabulary.decode(corpus.tokens(split, source)[:])


def test_one_vocabulary_from_all_train_splits(corpus, tokenization):
    assert corpus.sources == ("files", "stories")
    for word in ("zebra", "France", "grew"):
        assert corpus.vocabulary.id(word) is not None
    assert corpus.vocabulary.id("quokka") is None
    unknown = words_of(corpus, "train", "stories").split().count("<unk>")
    assert corpus.tokens("train", "stories").unk_count == unknown
    assert (unknown > 0) == (tokenization == "whitespace")  # WikiText itself has <unk>


def test_stories_are_spelled_as_the_text_is(make_config):
    corpus = Corpus(make_config("whitespace").corpus)
    assert " . " in words_of(corpus, "valid", "stories")
    assert corpus.vocabulary.id("France") and not corpus.vocabulary.id("France.")


def test_real_sentences_stand_between_clue_and_return(corpus, tokenization):
    vocabulary = corpus.vocabulary
    sentences = set(iterate_sentences(corpus.tokens("train"), vocabulary))
    spelled = [vocabulary.decode(sentence) for sentence in sentences]
    assert len(spelled) == {"whitespace": 4, "words": 3}[tokenization]
    lines = words_of(corpus, "train", "stories").split(" <eos>")
    woven = [line for line in lines if any(sentence in line for sentence in spelled)]
    assert 0.3 < len(woven) / len(lines) < 0.8  # lessons and short stories have no place for them
    for line in woven:
        assert not any(line.strip().startswith(sentence) for sentence in spelled)
        assert not any(line.strip().endswith(sentence) for sentence in spelled)


LATER = {"fillers_from": 0.5}


def test_real_sentences_may_begin_later_in_a_curriculum(make_config):
    """Before that, stories are as they were told; and from the start they are as ever."""

    def stories(**more):
        given = {"source": "stories", "count": 200, "farthest": 20, "curriculum": 2} | more
        entry = ", ".join(f"{key}: {value}" for key, value in given.items())
        corpus = Corpus(make_config("whitespace", f"[{{{entry}}}]").corpus)
        return words_of(corpus, "train", "stories").split(" <eos>")

    told, woven = stories(fillers="own"), stories(**LATER)
    changed = [number for number, story in enumerate(told) if story != woven[number]]
    assert all(number % 100 >= 50 for number in changed)
    assert {number // 100 for number in changed} == {0, 1} and len(changed) > 20
    assert stories(fillers_from=0.0) == stories() != woven
    told, woven = (stories(curriculum="null", **more) for more in ({"fillers": "own"}, LATER))
    changed = [number for number, story in enumerate(told) if story != woven[number]]
    assert min(changed) >= 100 and len(changed) > 20


def test_sentences_of_valid_and_test_are_never_used(corpus):
    for source in corpus.sources:
        assert "quokka" not in words_of(corpus, "train", source)
    assert "this whole" not in words_of(corpus, "train", "stories")


def test_stories_to_validate_on_are_those_of_the_source(corpus):
    """Their exact likelihood is known; it is not claimed for stories with real sentences."""
    valid = words_of(corpus, "valid", "stories")
    assert "why it was" not in valid and "zebra" not in valid.split()
    assert corpus.source_nll("valid", "stories") > 0
    assert corpus.source_nll("train", "stories") is None
    assert corpus.source_nll("valid") is None
    assert corpus.tokens("valid", "stories").lines == 500


def test_own_fillers_leave_the_stories_as_they_are(make_config, tokenization):
    config = make_config(tokenization, "[{source: stories, count: 60, fillers: own}]")
    corpus = Corpus(config.corpus)
    assert "zebra" not in words_of(corpus, "train", "stories").split()


def test_a_share_decides_how_many_stories_there_are(make_config):
    config = make_config("whitespace", "[{source: stories, share: 0.75}]", "corpus.passes=30")
    corpus = Corpus(config.corpus)
    own, stories = corpus.mixed_tokens(4).sizes()
    assert own == 30 * len(corpus.tokens("train"))
    assert abs(stories / (own + stories) - 0.75) < 0.06


def test_a_share_of_a_text_is_a_number_of_passes(make_config, tmp_path):
    (tmp_path / "other.txt").write_text("A third text is here.\n" * 30)
    other = f"{{source: files, train_file: {tmp_path}/other.txt, valid_file: {tmp_path}/other.txt"
    config = make_config("whitespace", f"[{other}, share: 0.5}}]")
    corpus = Corpus(config.corpus)
    assert corpus.sources == ("files", "files 2")
    own, others = corpus.mixed_tokens(2).sizes()
    assert abs(others / (own + others) - 0.5) < 0.05
    assert "third text is here ." in words_of(corpus, "train", "files 2")  # spelled as the corpus


def test_it_is_counted_once(make_config, monkeypatch):
    config = make_config("words", "[{source: stories, share: 0.5}]").corpus
    first = Corpus(config)
    ids, size = first.vocabulary.to_json(), len(first.mixed_tokens(2))
    monkeypatch.setattr("lstm_lm.corpus.counting.count_words", None)
    again = Corpus(config)
    assert (again.vocabulary.to_json(), len(again.mixed_tokens(2))) == (ids, size)
    given = Corpus(config, vocabulary=first.vocabulary)  # as `evaluate --split train` has it
    assert len(given.tokens("train", "stories")) == len(first.tokens("train", "stories"))


def test_a_text_without_a_sentence_is_refused(make_config, tmp_path):
    config = make_config("words")
    (tmp_path / "train.txt").write_text("no sentence here\n" * 30)
    with pytest.raises(CorpusError, match="has no whole sentence"):
        Corpus(config.corpus).mixed_tokens(2)


# --- training and evaluation ----------------------------------------------------------------------

SMALL = [
    "model.hidden_size=8", "model.embedding_dim=8", "model.num_layers=1", "training.batch_size=4",
    "training.max_epochs=1", "training.bptt_length=16", "training.log_every=5",
]  # fmt: skip


def test_the_best_weights_are_chosen_by_a_stated_rule():
    results = {
        "files": Perplexity(10.0, 5, 0, "carried"),
        "stories": Perplexity(40.0, 10, 0, "reset"),
    }
    validation = Validation(results, {"stories": 30.0})
    assert validation.loss("files") == 2.0 and validation.loss("stories") == 4.0
    assert validation.loss("all") == 3.0
    line = validation.log_values("stories")
    assert line["loss"] == 2.0 and line["best_on_loss"] == 4.0
    assert line["sources"]["stories"]["tokens"] == 10
    first, second = validation.describe()
    assert first.startswith("files: valid perplexity 7.39")
    assert second.startswith("stories: valid perplexity 54.60")
    assert second.endswith("the source itself 20.09")


def test_train_evaluate_and_predict(command, make_config, tmp_path):
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(config_to_dict(make_config("whitespace"))))
    run = str(tmp_path / "run")
    status, out, err = command("train", str(tmp_path / "a.yaml"), *SMALL, "--output", run)
    assert status == 0, err
    assert "mix: files " in out and "files: valid perplexity" in out
    assert "stories: valid perplexity" in out and "the source itself" in out
    card = (tmp_path / "run" / "README.md").read_text()
    assert "60 built-in stories with sentences of the corpus" in card
    assert "\n| valid | files | " in card and "\n| valid | stories | " in card

    status, out, _ = command("evaluate", run)
    assert status == 0
    firsts = [line for line in out.splitlines() if line.startswith("valid of ")]
    assert [line.partition(":")[0] for line in firsts] == ["valid of files", "valid of stories"]
    status, out, _ = command("evaluate", run, "--json")
    figures = json.loads(out)
    assert list(figures["sources"]) == ["files", "stories"]
    assert figures["perplexity"] == figures["sources"]["files"]["perplexity"]
    assert figures["sources"]["stories"]["state"] == "reset"
    assert figures["sources"]["stories"]["source_perplexity"] > 1
    assert command("predict", run, "I grew up in France.")[0] == 0


def test_a_stopped_run_resumes_bit_for_bit(make_config, tmp_path):
    import lstm_lm

    config = make_config("words", "[{source: stories, count: 40, farthest: 20}]")
    settings = dict(setting.split("=") for setting in SMALL)
    settings = {key: yaml.safe_load(value) for key, value in settings.items()}
    settings["training.checkpoint_every"] = 4
    settings["optimizer.schedule"] = "constant"
    whole = lstm_lm.train(config, tmp_path / "whole", report=lambda line: None, **settings)
    lstm_lm.train(
        config, tmp_path / "parts", report=lambda line: None,
        **settings | {"training.max_steps": 6},
    )  # fmt: skip
    parts = lstm_lm.train(
        config, tmp_path / "parts", resume=True, report=lambda line: None,
        **settings | {"training.max_steps": None},
    )  # fmt: skip
    assert parts.steps == whole.steps > 6
    first, second = (
        (tmp_path / name / "metrics.jsonl").read_text().splitlines()[-1]
        for name in ("whole", "parts")
    )
    assert first == second


def test_ones_own_text_and_memory(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.txt").write_text("\n".join(TEXTS["words"] * 3) + "\n")
    status, out, err = command(
        "train", "my.txt", "corpus.mix=[{source: stories, count: 30}]", *SMALL[:2],
        "training.max_steps=2",
    )  # fmt: skip
    assert status == 0, err
    written = yaml.safe_load((tmp_path / "runs" / "my" / "config.yaml").read_text())
    assert written["corpus"]["passes"] == 30 and written["training"]["max_epochs"] == 1
