"""Laws of generation: greedy is the argmax chain; filters; wrong arguments are one line."""

import json
import math

import pytest
import torch

from lstm_lm import LanguageModel
from lstm_lm.errors import InputError
from lstm_lm.model.generation import keep_likely


def test_greedy_is_the_argmax_chain_and_its_nll_is_that_of_scoring(model):
    words, text, nll = list(model.iterate_words("I grew", 8, temperature=0)), "I grew", 0.0
    for word in words:
        best = model.predict_next(text, top_k=1)[0]
        assert best.word == word
        nll -= best.log_probability
        text += "\n" if word == "<eos>" else f" {word}"
    scored = model.score(text.removesuffix("\n") if words[-1] == "<eos>" else text)[
        2 : 2 + len(words)
    ]
    assert sum(s.surprisal for s in scored) * math.log(2) == pytest.approx(nll, rel=1e-5)


def test_a_seed_repeats_a_text_and_does_not_change_torchs_generator(model):
    before = torch.get_rng_state()
    draws = [model.generate("I", 20, seed=seed) for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
    assert torch.equal(torch.get_rng_state(), before)


def test_unknown_is_never_drawn(make_model):
    model = make_model()
    model.network.output.bias.data[model.vocabulary.unk_id] = 50.0
    assert "<unk>" not in list(model.iterate_words("I", 50, seed=0))


def test_keep_likely():
    scores = torch.tensor([0.1, 0.4, 0.3, 0.2]).log()

    def kept(top_k=None, top_p=None):
        found = keep_likely(scores, top_k, top_p)
        is_kept = found == scores
        assert (found[~is_kept] == -math.inf).all()
        return is_kept.nonzero().flatten().tolist()

    assert kept() == [0, 1, 2, 3]
    assert kept(top_k=2) == [1, 2] and kept(top_k=100) == [0, 1, 2, 3]
    assert (
        kept(top_p=0.39) == [1] and kept(top_p=0.41) == [1, 2] and kept(top_p=1.0) == [0, 1, 2, 3]
    )
    assert kept(top_k=3, top_p=0.5) == [1, 2]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 0.5},
        {"temperature": 3.0, "top_k": 4},
        {"temperature": 0.7, "top_p": 0.6},
        {"top_k": 5, "top_p": 0.4},
    ],
)
def test_words_are_drawn_from_the_model_s_own_distribution(model, monkeypatch, options):
    """Without <unk>, sharpened by the temperature, then cut to the most probable words."""
    drawn_from = []

    def multinomial(probabilities, count, generator=None):
        drawn_from.append(probabilities)
        return probabilities.argmin(dim=0, keepdim=True)  # a word that greedy would not take

    monkeypatch.setattr(torch, "multinomial", multinomial)
    text, words = "I grew", list(model.iterate_words("I grew", 3, **options))
    for word, found in zip(words, drawn_from, strict=True):
        every = {p.word: p.probability for p in model.predict_next(text, top_k=1000)}
        expected = torch.tensor([every.get(word, 0.0) for word in model.vocabulary.words])
        expected = expected ** (1 / options.get("temperature", 1.0))
        expected /= expected.sum()
        ranked = expected.argsort(descending=True)
        kept = ranked[: options.get("top_k")]
        if "top_p" in options:
            mass_before = expected[ranked].cumsum(0) - expected[ranked]
            kept = kept[: int((mass_before < options["top_p"]).sum())]
        expected = torch.zeros_like(expected).index_copy(0, kept, expected[kept])
        torch.testing.assert_close(found, expected / expected.sum())
        text += "\n" if word == "<eos>" else f" {word}"


def test_the_smallest_options_are_allowed_and_take_the_most_probable_words(model):
    greedy = list(model.iterate_words("I grew", temperature=0))
    assert len(greedy) == 50  # the default
    for options in ({"top_k": 1}, {"top_p": 1e-9}, {"temperature": 1e-9}):
        assert list(model.iterate_words("I grew", seed=0, **options)) == greedy


def test_no_words_and_the_limits_of_a_seed_are_allowed(model):
    assert list(model.iterate_words("I", 0)) == [] and model.generate("I", 0) == ""
    for seed in (-(2**63), 0, 2**64 - 1):
        assert len(list(model.iterate_words("I", 3, seed=seed))) == 3
    for seed in (-(2**63) - 1, 2**64):
        with pytest.raises(InputError, match="seed must fit into 64 bits"):
            model.generate("I", seed=seed)


@pytest.mark.parametrize("temperature", [1e-300, 1e-3, 100.0])
def test_any_temperature_draws(model, temperature):
    assert len(list(model.iterate_words("I", 5, temperature=temperature, seed=0))) == 5


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -1.0},
        {"top_k": 0},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"words": -1},
        {"temperature": math.nan},
        {"top_p": math.nan},
    ],
)
def test_wrong_arguments(model, options):
    with pytest.raises(InputError, match="must be"):
        model.generate("I", **options)


# --- several samples, cuts, penalties ------------------------------------------------------------


def test_a_sample_is_what_its_seed_alone_draws(model):
    """The first is what was drawn before there were samples, bit for bit."""
    for options in ({}, {"temperature": 0.7, "top_p": 0.8}, {"min_p": 0.1}):
        samples = list(model.iterate_continuations("I grew", 9, samples=4, seed=5, **options))
        assert [sample.seed for sample in samples] == [5, 6, 7, 8]
        for sample in samples:
            assert sample.words == list(
                model.iterate_words("I grew", 9, seed=sample.seed, **options)
            )
            assert sample.text == model.generate("I grew", 9, seed=sample.seed, **options)
    assert len({tuple(sample.words) for sample in samples}) > 1
    torch.manual_seed(3)
    unseeded = list(model.iterate_continuations("I grew", 9, samples=2))
    torch.manual_seed(3)
    assert unseeded[0].words == list(model.iterate_words("I grew", 9))
    assert [sample.seed for sample in unseeded] == [None, None]
    assert unseeded[0].words != unseeded[1].words


def test_every_word_has_its_own_probability_over_the_whole_vocabulary(model):
    options = {"temperature": 0.5, "top_k": 4, "repetition_penalty": 2.0, "ban": ["France"]}
    (sample,) = model.iterate_continuations("I grew", 8, seed=1, **options)
    text = "I grew"
    for guess in sample.predictions:
        every = {p.word: p for p in model.predict_next(text, 1000)}
        assert guess.log_probability == pytest.approx(every[guess.word].log_probability, abs=1e-5)
        assert guess.probability == pytest.approx(math.exp(guess.log_probability))
        text += "\n" if guess.word == "<eos>" else f" {guess.word}"
    total = sum(guess.log_probability for guess in sample.predictions)
    assert sample.log_probability == pytest.approx(total)


def test_until_eos_ends_at_the_first_line_end(model):
    whole = [list(model.iterate_words("I", 60, seed=seed)) for seed in range(4)]
    assert any("<eos>" in words[:-1] for words in whole)
    for seed, words in enumerate(whole):
        expected = words[: words.index("<eos>") + 1] if "<eos>" in words else words
        assert list(model.iterate_words("I", 60, seed=seed, until_eos=True)) == expected
        (sample,) = model.iterate_continuations("I", 60, seed=seed, until_eos=True)
        assert sample.words == expected and "\n" not in sample.text
        assert len(list(model.iterate_words("I", 2, seed=seed, until_eos=True))) <= 2


def test_min_p_keeps_words_by_their_share_of_the_most_probable_one():
    scores = torch.tensor([0.1, 0.4, 0.3, 0.2]).log()

    def kept(min_p, **others):
        found = keep_likely(scores, others.get("top_k"), others.get("top_p"), min_p)
        return (found == scores).nonzero().flatten().tolist()

    assert kept(1.0) == [1] and kept(0.76) == [1] and kept(0.74) == [1, 2]
    assert kept(0.51) == [1, 2] and kept(0.49) == [1, 2, 3] and kept(0.2) == [0, 1, 2, 3]
    assert kept(0.2, top_k=2) == [1, 2] and kept(0.6, top_k=3) == [1, 2]
    assert kept(1e-300) == [0, 1, 2, 3]


def test_a_repetition_penalty_multiplies_the_log_probability_of_what_was_there(model, monkeypatch):
    drawn_from = []

    def multinomial(probabilities, count, generator=None):
        drawn_from.append(probabilities)
        return probabilities.argmax(dim=0, keepdim=True)

    monkeypatch.setattr(torch, "multinomial", multinomial)
    text = "I grew up\nShe"
    words = list(model.iterate_words(text, 4, repetition_penalty=1.7))
    seen = {"I", "grew", "up", "She"}
    for word, found in zip(words, drawn_from, strict=True):
        every = {p.word: p.probability for p in model.predict_next(text, top_k=1000)}
        expected = torch.tensor(
            [
                every.get(known, 0.0) ** (1.7 if known in seen else 1)
                for known in model.vocabulary.words
            ]
        )
        torch.testing.assert_close(found, expected / expected.sum())
        text += "\n" if word == "<eos>" else f" {word}"
        seen |= {word} - {"<eos>"}
    monkeypatch.undo()
    greedy = list(model.iterate_words("I", 9, temperature=0, repetition_penalty=1e6))
    repeated = [word for word in greedy if word != "<eos>"]
    assert len(set(repeated)) == len(repeated)
    assert list(model.iterate_words("I", 9, temperature=0, repetition_penalty=1.0)) == list(
        model.iterate_words("I", 9, temperature=0)
    )


def test_banned_words_are_never_added(model):
    ban = ["i", "FRANCE", ".", "<eos>"]
    for options in ({"seed": 1, "temperature": 3.0}, {"temperature": 0}, {"beam": 5}):
        for sample in model.iterate_continuations("I grew", 30, ban=ban, **options):
            assert not {"I", "France", ".", "<eos>"}.intersection(sample.words)
    with pytest.raises(InputError, match="ban must leave a word"):
        model.generate("I", ban=model.vocabulary.words[1:])


def test_a_list_of_prompts(model):
    prompts = ["I grew", "", "She has\n"]
    for options in ({"seed": 3}, {"beam": 3}, {"temperature": 0}):
        assert model.generate(prompts, 5, **options) == [
            model.generate(prompt, 5, **options) for prompt in prompts
        ]
    assert model.generate([], 5) == []


# --- beam search ---------------------------------------------------------------------------------


def every_text(model, prompt, words, until_eos):
    """All continuations by brute force: words and log-probability, the most probable first."""
    found, open_texts = [], [((), 0.0)]
    ids = model.vocabulary.ids_of(["<eos>", *model.vocabulary.split_text(prompt)])
    for _ in range(words):
        longer = []
        for text, total in open_texts:
            read = torch.tensor([*ids, *text]).unsqueeze(1)
            with torch.no_grad():
                scores = model.network(read)[0][-1, 0]
            for number, score in enumerate(scores.tolist()):
                if number == model.vocabulary.unk_id:
                    continue
                ends = until_eos and number == model.vocabulary.eos_id
                (found if ends else longer).append(((*text, number), total + score))
        open_texts = longer
    return sorted([*found, *open_texts], key=lambda pair: -pair[1])


@pytest.fixture
def small(make_model):
    """A model of 19 words whose distributions differ from word to word."""
    model = make_model(seed=4, num_layers=1, tie_weights=False)
    torch.manual_seed(4)
    with torch.no_grad():
        model.network.output.weight.mul_(6)
        model.network.output.bias.normal_()
        model.network.output.bias[model.vocabulary.eos_id] += 4
    model.network.double()
    return model


@pytest.mark.parametrize("until_eos", [False, True])
@pytest.mark.parametrize("words", [1, 2, 3])
def test_a_beam_that_holds_everything_is_exact(small, words, until_eos):
    expected = every_text(small, "I grew", words, until_eos)
    beam = min(1000, len(small.vocabulary) ** (words - 1) + 5)
    found = list(
        small.iterate_continuations("I grew", words, samples=5, beam=beam, until_eos=until_eos)
    )
    for sample, (numbers, total) in zip(found, expected[:5], strict=True):
        assert sample.words == [small.vocabulary.words[number] for number in numbers]
        assert sample.log_probability == pytest.approx(total, abs=1e-10) and sample.seed is None
    if until_eos and words == 3:
        assert len({len(sample.words) for sample in found}) > 1  # some end early


def test_a_narrow_beam_keeps_the_best_texts_after_each_word(small):
    for beam in (1, 2, 3, 7):
        kept = [((), 0.0)]
        for length in range(1, 5):
            following = [
                ((*text, guess.word), total + guess.log_probability)
                for text, total in kept
                for guess in small.predict_next(" ".join(("I", *text)).replace(" <eos>", "\n"), 99)
            ]
            kept = sorted(following, key=lambda pair: -pair[1])[:beam]
            found = list(small.iterate_continuations("I", length, beam=beam, samples=beam))
            assert [tuple(sample.words) for sample in found] == [text for text, _ in kept]
    greedy = list(small.iterate_words("I", 12, temperature=0))
    assert next(small.iterate_continuations("I", 12, beam=1)).words == greedy
    assert small.generate("I", 12, beam=1) == small.vocabulary.display(greedy)


@pytest.mark.parametrize("until_eos", [False, True])
def test_a_wider_beam_finds_no_less_probable_text_than_greedy(model, until_eos):
    greedy = next(model.iterate_continuations("I", 12, temperature=0, until_eos=until_eos))
    best = next(model.iterate_continuations("I", 12, beam=50, until_eos=until_eos))
    assert best.log_probability >= greedy.log_probability - 1e-6
    assert list(model.iterate_continuations("I", 0, beam=3))[0].words == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_p": 0.0}, "min-p must be above 0"),
        ({"min_p": 1.01}, "min-p must be above 0"),
        ({"min_p": math.nan}, "min-p must be above 0"),
        ({"repetition_penalty": 0.0}, "repetition-penalty must be above 0"),
        ({"repetition_penalty": math.inf}, "repetition-penalty must be above 0 and finite"),
        ({"repetition_penalty": math.nan}, "repetition-penalty must be above 0 and finite"),
        ({"samples": 0}, "samples must be at least 1, found 0"),
        ({"samples": 2, "seed": 2**64 - 1}, "seed must fit into 64 bits"),
        ({"beam": 0}, "beam must be from 1 to 1,000, found 0"),
        ({"beam": 1001}, "beam must be from 1 to 1,000, found 1001"),
        ({"beam": 2, "samples": 3}, r"samples must be at most beam \(2\), found 3"),
        ({"beam": 2, "temperature": 0.5, "top_k": 3}, "beam and temperature, top-k: "),
        ({"beam": 2, "seed": 0}, "beam and seed: "),
        ({"ban": ["New York"]}, "'New York' is 2 words"),
    ],
)
def test_wrong_options_are_refused_at_once(model, options, message):
    with pytest.raises(InputError, match=message):
        model.iterate_continuations("I", **options)


# --- the command line ----------------------------------------------------------------------------


def test_the_command_prints_samples_with_the_probability_of_every_word(
    command, finished_run, tmp_path
):
    words = ["generate", finished_run, "--words", 6, "--seed", 3, "--samples", 2]
    prompts = ["--prompt", "I grew up in", "--prompt", "She has"]
    answers = [json.loads(line) for line in command(*words, *prompts, "--json")[1].splitlines()]
    keys = "prompt sample seed continuation words probabilities log_probability".split()
    assert [list(answer) for answer in answers] == [keys] * 4
    assert [(a["prompt"], a["sample"], a["seed"]) for a in answers] == [
        ("I grew up in", 1, 3),
        ("I grew up in", 2, 4),
        ("She has", 1, 3),
        ("She has", 2, 4),
    ]
    model = LanguageModel.from_pretrained(finished_run)
    for answer in answers:
        expected = model.generate(answer["prompt"], 6, seed=answer["seed"])
        assert answer["continuation"] == expected and len(answer["probabilities"]) == 6
        total = sum(map(math.log, answer["probabilities"]))
        assert answer["log_probability"] == pytest.approx(total)
    out = command(*words, *prompts)[1]
    assert out.count("I grew up in") >= 2 and out.count("\n\n") >= 3
    (tmp_path / "ban.txt").write_text("cat\nxyzzy\n")
    search = ["generate", finished_run, "I", "--beam", 4, "--words", 3, "--samples", 4, "--json"]
    status, out, err = command(*search, "--until-eos", "--ban", tmp_path / "ban.txt")
    found = [json.loads(line) for line in out.splitlines()]
    assert status == 0 and "does not have 1 of 2 words" in err and len(found) == 4
    totals = [answer["log_probability"] for answer in found]
    assert totals == sorted(totals, reverse=True) and {a["seed"] for a in found} == {None}
    assert not any("cat" in answer["words"] for answer in found)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--samples", "0"], "samples must be at least 1, found 0"),
        (["--samples", "x"], "--samples: found 'x', must be a whole number"),
        (["--beam", "0"], "beam must be from 1"),
        (["--beam", "3", "--temperature", "1"], "beam and temperature: "),
        (["--beam", "3", "--samples", "4"], "samples must be at most beam (3), found 4"),
        (["--min-p", "2"], "min-p must be above 0 and at most 1, found 2"),
        (["--repetition-penalty", "-1"], "repetition-penalty must be above 0 and finite, found -1"),
        (["--repetition-penalty", "nan"], "found nan"),
        (["--ban", "absent.txt"], "absent.txt"),
    ],
)
def test_wrong_options_of_the_command_are_one_line(command, finished_run, words, message):
    status, out, err = command("generate", finished_run, "I", *words)
    assert status == 2 and out == "" and message in err.splitlines()[0]
