"""Laws of the table: exact, a row a word, read by other programs, nothing of the input lost."""

import csv
import io
import json
import math

import pytest
import torch

from lstm_lm import LanguageModel
from lstm_lm.corpus.alignment import place_words
from lstm_lm.corpus.stimuli import Stimulus
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.evaluation.surprisal_table import COLUMNS, Summary, TableOptions, iterate_rows
from lstm_lm.model.measuring import LineReader
from lstm_lm.model.reading import next_word_log_probabilities, prompt_words
from tests.conftest import LINES

TEXT = 'I grew up in France. She doesn\'t speak zork, "Paris"\tI.\n\nShe speaks French.'
OUTPUTS = [
    {},
    {"output": "sampled", "sampled_words": 5},
    {"output": "adaptive", "adaptive_cutoffs": (6, 12), "adaptive_factor": 2.0},
    {"output": "mos", "mixture_softmaxes": 3},
]


def stimuli(text):
    return [Stimulus(line) for line in text.split("\n")]


def rows_of(models, text, **options):
    models = models if isinstance(models, list) else [models]
    return list(iterate_rows(models, stimuli(text), TableOptions(**options)))


def read(text):
    return list(csv.DictReader(io.StringIO(text), delimiter="\t"))


@pytest.fixture
def table(command, tmp_path):
    """Runs ``lstm-lm score ... --tsv``; returns the rows of the file and what was said."""

    def run(*words):
        out = tmp_path / "out.tsv"
        status, printed, said = command("score", *words, "--tsv", out)
        assert status == 0 and printed == ""
        return read(out.read_text(encoding="utf-8")), said

    return run


def distributions(model, text, carry):
    """The log-probabilities before each word of each line, by reading everything anew."""
    vocabulary, before = model.vocabulary, ""
    for line in text.split("\n"):
        words = vocabulary.split_text(line)
        spelled = [" ".join(words[:n]) for n in range(len(words) + 1)]
        yield [
            next_word_log_probabilities(
                model.network, vocabulary.ids_of(prompt_words(vocabulary, before + start))
            )
            for start in spelled
        ]
        before = f"{before}{line}\n" if carry else ""


@pytest.mark.parametrize("carry", [False, True])
@pytest.mark.parametrize("settings", OUTPUTS)
@pytest.mark.parametrize("base", [2.0, math.e, 10.0])
def test_every_measure_equals_brute_force(make_model, settings, carry, base):
    model = make_model(**settings).in_double_precision()
    rows = rows_of(model, TEXT, carry=carry, base=base)
    unit = math.log(base)
    expected = []
    for number, line in enumerate(distributions(model, TEXT, carry), 1):
        words = [*model.vocabulary.split_text(TEXT.split("\n")[number - 1]), "<eos>"]
        for at, (word, found) in enumerate(zip(words, line, strict=True), 1):
            own = float(found[model.vocabulary.ids_of([word])[0]])
            entropy = -float((found.exp() * found).sum())
            expected.append((number, at, word, -own / unit, entropy / unit, found, own))
    assert len(rows) == len(expected)
    for row, (number, at, word, surprisal, entropy, found, own) in zip(rows, expected, strict=True):
        assert (row.sentence_id, row.token_id, row.token) == (number, at, word)
        assert row.surprisal == pytest.approx(surprisal, abs=1e-9)
        assert row.entropy == pytest.approx(entropy, abs=1e-9)
        assert row.rank == int((found >= own).sum())
        assert row.known == (model.vocabulary.id(word) is not None)
    for row, after in zip(rows, [*rows[1:], None], strict=True):
        if after is None or (row.token == "<eos>" and not carry):
            assert row.entropy_reduction is None
        else:
            assert row.entropy_reduction == pytest.approx(row.entropy - after.entropy, abs=1e-12)


def test_words_are_those_of_score_and_stand_where_they_were_typed(model):
    rows = rows_of(model, TEXT)
    scores = model.score(TEXT, reset_per_line=True)
    assert [row.token for row in rows] == [score.word for score in scores]
    assert [row.surprisal for row in rows] == pytest.approx([s.surprisal for s in scores])
    lines = TEXT.split("\n")
    for row in rows:
        typed = lines[row.sentence_id - 1][row.start : row.end]
        assert typed == ("" if row.token == "<eos>" else row.token)
    assert [row.end for row in rows if row.token == "<eos>"] == [len(line) for line in lines]


@pytest.mark.parametrize(
    "corpus, typed, placed",
    [
        ("do n't like well @-@ known 1 @,@ 000 @.@ . \"", "don't", ["do", "n't"]),
        (
            "do n't like well @-@ known 1 @,@ 000 @.@ . \"",
            "well-known.",
            ["well", "-", "known", "."],
        ),
        ("do n't like well @-@ known 1 @,@ 000 @.@ . \"", "1,000", ["1", ",", "000"]),
        ("do n't like well @-@ known 1 @,@ 000 @.@ . \"", "“do”", ["“", "do", "”"]),
        ("don 't like .", "  don't   like. ", ["don", "'t", "like", "."]),
    ],
)
def test_a_tokenised_corpus_spells_but_places_are_those_of_the_text(corpus, typed, placed):
    vocabulary = Vocabulary.build([corpus] * 2, tokenization="whitespace")
    found = place_words(typed, vocabulary)
    assert [word.word for word in found] == vocabulary.split_text(typed)
    assert [typed[word.start : word.end] for word in found] == placed


@pytest.mark.parametrize(
    "typed, placed",
    [
        ("Don’t… “go”", ["Do", "n’t", "…", "“", "go", "”"]),  # quotes and dots are normalised
        ("cafe\u0301s, co\u00adop!", ["cafe\u0301s", ",", "co\u00adop", "!"]),
        ("İSTANBUL. x", ["İSTANBUL", ".", "x"]),  # one letter becomes two in lower case
    ],
)
@pytest.mark.parametrize("lowercase", [False, True])
def test_normalised_letters_are_found_too(typed, placed, lowercase):
    vocabulary = Vocabulary.build(LINES, tokenization="words", lowercase=lowercase)
    found = place_words(typed, vocabulary)
    assert [word.word for word in found] == vocabulary.split_text(typed)
    assert [typed[word.start : word.end] for word in found] == placed


def test_tokenised_text_is_read_as_it_stands():
    vocabulary = Vocabulary.build(["do n't go ."] * 2, tokenization="whitespace")
    found = place_words(" do n't <eos> zork.", vocabulary, tokenised=True)
    assert [(word.word, word.start) for word in found] == [
        ("do", 1),
        ("n't", 4),
        ("<unk>", 8),
        ("zork.", 14),
    ]


def grouped(rows):
    return [row.token for row in rows if row.token != "<eos>"]


def test_typed_words_add_up(model):
    tokens = rows_of(model, TEXT)
    apart = rows_of(model, TEXT, by="word")
    joined = rows_of(model, TEXT, by="word", joins_marks=True)
    assert grouped(joined) == TEXT.split()
    assert grouped(apart)[:10] == "I grew up in France . She doesn't speak zork".split()
    assert grouped(apart)[10:15] == [",", '"', "Paris", '"', "I"]
    for rows in (apart, joined):
        for line in (1, 2, 3):
            mine = [row for row in rows if row.sentence_id == line]
            every = [row for row in tokens if row.sentence_id == line]
            assert [row.token_id for row in mine] == list(range(1, len(mine) + 1))
            assert sum(row.surprisal for row in mine) == pytest.approx(
                sum(row.surprisal for row in every)
            )
            assert sum(row.entropy_reduction or 0 for row in mine) == pytest.approx(
                sum(row.entropy_reduction or 0 for row in every)
            )
    does, nt, speak = tokens[7:10]
    doesnt = apart[7]
    assert doesnt.surprisal == pytest.approx(does.surprisal + nt.surprisal)
    assert (doesnt.entropy, doesnt.rank) == (does.entropy, None)
    assert doesnt.entropy_reduction == pytest.approx(does.entropy - speak.entropy)
    assert (doesnt.start, doesnt.end) == (does.start, nt.end)


def test_regions_add_up_and_their_sign_is_not_read(model):
    text = "I grew up | in France.|| I zork"
    tokens = rows_of(model, text.replace("|", " "))
    rows = rows_of(model, text, by="region", region_sign="|")
    assert [row.token for row in rows] == ["I grew up", "in France.", "", "I zork", "<eos>"]
    assert [text[row.start : row.end] for row in rows[:4]] == [row.token for row in rows[:4]]
    sums = [tokens[0:3], tokens[3:6], [], tokens[6:8], tokens[8:9]]
    for row, members in zip(rows, sums, strict=True):
        expected = sum(one.surprisal for one in members) if members else None
        assert row.surprisal == (expected and pytest.approx(expected))
        assert row.entropy == (members[0].entropy if members else None)
        assert row.known == all(one.known for one in members)
    assert rows[1].entropy_reduction == pytest.approx(tokens[3].entropy - tokens[6].entropy)


@pytest.mark.parametrize("by", ["token", "word", "region"])
def test_unknown_words(model, by):
    text = "I grew zork | in zork"
    found = {
        oov: rows_of(model, text, by=by, oov=oov, region_sign="|" if by == "region" else "")
        for oov in ("unk", "na", "skip")
    }
    for unk, na in zip(found["unk"], found["na"], strict=True):
        assert (na.surprisal is None) == (not unk.known)
        assert (na.token, na.entropy, na.start) == (unk.token, unk.entropy, unk.start)
        assert unk.known or na.rank is None
    if by == "region":
        tokens = rows_of(model, text.replace("|", " "))
        assert found["skip"][0].surprisal == pytest.approx(sum(row.surprisal for row in tokens[:2]))
    else:
        assert found["skip"] == [row for row in found["unk"] if row.known]


def test_the_summary_names_unknown_words(model):
    summary = Summary()
    list(iterate_rows([model], stimuli("I zork zork\n\nFrance ."), TableOptions(), None, summary))
    assert (summary.lines, summary.words, summary.unknown["zork"]) == (3, 5, 2)
    assert summary.describe("unk").startswith("2 of 5 words (40.0%) are unknown to the model: zork")
    assert Summary(1, 3).describe("na") == "all 3 words are known to the model"


def test_several_runs_give_means_and_standard_deviations(make_model):
    models = [make_model(seed) for seed in (1, 2, 3)]
    rows = rows_of(models, TEXT)
    each = [rows_of(model, TEXT) for model in models]
    for row, *singles in zip(rows, *each, strict=True):
        for place, name in enumerate(("surprisal", "entropy", "entropy_reduction", "rank")):
            values = [getattr(single, name) for single in singles]
            mean, deviation = getattr(row, name), row.deviations[place]
            if None in values:
                assert mean is deviation is None
                continue
            expected = sum(values) / 3
            assert mean == pytest.approx(expected)
            assert deviation == pytest.approx(
                math.sqrt(sum((value - expected) ** 2 for value in values) / 2), abs=1e-12
            )


def adapted_by_hand(model, lines, rate):
    """Surprisals (nats) of each line, after plain gradient descent on those before it."""
    network = model.in_double_precision().network
    network.requires_grad_(True)
    found = []
    for line in lines:
        ids = [*model.vocabulary.ids_of(model.vocabulary.split_text(line)), 1]
        scores, _ = network(torch.tensor([1, *ids[:-1]]).unsqueeze(1))
        nll = -scores[range(len(ids)), 0, ids]
        found.append(nll.tolist())
        gradients = torch.autograd.grad(nll.mean(), list(network.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(network.parameters(), gradients, strict=True):
                parameter -= rate * gradient
    return found


@pytest.mark.parametrize("settings", [{}, {"tie_weights": False}, OUTPUTS[2]])
def test_adaptation_is_one_step_of_gradient_descent_after_each_line(make_model, settings):
    model = make_model(**settings)
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    lines = ["I grew up in France .", "I speak fluent French .", "I grew up in France ."]
    rows = rows_of(model, "\n".join(lines), adapt=0.1, base=math.e)
    expected = adapted_by_hand(model, lines, 0.1)
    assert [row.surprisal for row in rows] == pytest.approx(sum(expected, []), abs=1e-9)
    assert sum(expected[2]) < sum(expected[0])  # it has learnt
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize("carry", [False, True])
def test_a_long_line_is_read_in_pieces(make_model, monkeypatch, carry):
    model = make_model()
    ids = model.vocabulary.encode_lines([" ".join(LINES)])[0]
    readers = [LineReader(model.network, model.vocabulary, carry=carry) for _ in range(2)]
    whole = [readers[0].read(ids) for _ in range(2)]
    monkeypatch.setattr("lstm_lm.model.measuring.WINDOW", 7)
    pieces = [readers[1].read(ids) for _ in range(2)]
    for one, other in zip(whole, pieces, strict=True):
        assert one.nll == pytest.approx(other.nll, abs=1e-12)
        assert one.entropy == pytest.approx(other.entropy, abs=1e-12)
    assert (abs(whole[0].nll - whole[1].nll).max() > 1e-6) == carry


def test_improbable_words_are_exact(make_model):
    """Where the sum of exponentials overflows, it is computed in another way."""
    model = make_model().in_double_precision()
    with torch.no_grad():
        model.network.output.bias[model.vocabulary.id("cat")] = -2000
    (row, _) = rows_of(model, "cat", base=math.e)
    (found,), _ = (line[:1] for line in [next(distributions(model, "cat", False))] * 2)
    assert row.surprisal == pytest.approx(-float(found[model.vocabulary.id("cat")]), rel=1e-12)
    assert row.entropy == pytest.approx(-float((found.exp() * found).sum()), abs=1e-9)
    assert row.rank == len(model.vocabulary)


# --- the command ---------------------------------------------------------------------------------

CSV = (
    'item,sentence,condition,token\n1,"I grew up in ""France"", and, a cat.",a,x\n'
    "2,None speak\u00a0zork nan.,,\n3,,b,NA\n"
)


@pytest.fixture
def csv_file(tmp_path):
    path = tmp_path / "stimuli.csv"
    path.write_text(CSV, encoding="utf-8")
    return path


def test_all_columns_are_carried_along(table, finished_run, csv_file):
    rows, said = table(finished_run, "--file", csv_file, "--text-column", "sentence")
    assert list(rows[0]) == [*COLUMNS, "item", "sentence", "condition", "input_token"]
    source = list(csv.DictReader(io.StringIO(CSV)))
    for row in rows:
        mine = source[int(row["sentence_id"]) - 1]
        assert [row[name] for name in ("item", "sentence", "condition", "input_token")] == list(
            mine.values()
        )
    assert [row["token"] for row in rows if row["item"] == "3"] == ["<eos>"]
    assert "unknown to the model: " in said and f"{len(rows)} rows for 3 lines" in said


def test_a_text_and_a_table_give_the_same_rows(table, finished_run, tmp_path):
    text, tsv = tmp_path / "a.txt", tmp_path / "a.tsv"
    lines = ["I grew up in France .", "", 'a "cat', "She speak ."]
    text.write_text("\n".join(lines) + "\n")
    tsv.write_text("\n".join(["text\tn", *(f"{line}\t1" for line in lines)]) + "\n")
    one = table(finished_run, "--file", text)[0]
    other = table(finished_run, "--file", tsv)[0]
    assert one == [{name: row[name] for name in COLUMNS} for row in other]
    assert {row["n"] for row in other} == {"1"}
    assert [row["sentence_id"] for row in one if row["token"] == "<eos>"] == ["1", "2", "3", "4"]


def test_frequencies_are_those_of_train(table, finished_run):
    rows, _ = table(finished_run, "I grew up in zork")
    train = [word for line in LINES * 20 for word in (*line.split(), "<eos>")]
    for row in rows:
        if row["token"] == "zork":
            assert (row["log_frequency"], row["known"]) == ("", "false")
        else:
            share = train.count(row["token"]) / len(train)
            assert float(row["log_frequency"]) == pytest.approx(math.log2(share))


def test_a_run_without_its_corpus_still_gives_a_table(table, a_run):
    (a_run / "config.yaml").unlink()
    rows, said = table(a_run, "I grew up")
    assert {row["log_frequency"] for row in rows} == {""} and "frequencies, are unknown" in said


def test_the_sum_of_a_carried_text_is_that_of_evaluate(table, command, finished_run, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("I grew up in France .\nI speak .\nShe has a cat .\n")
    evaluated = json.loads(command("evaluate", finished_run, "--file", text, "--json")[1])
    rows, said = table(finished_run, "--file", text, "--carry", "--base", "e")
    assert sum(float(row["surprisal"]) for row in rows) == pytest.approx(evaluated["nll"], rel=1e-5)
    assert "state carried from line to line" in said


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("options", [[], ["--oov", "na"], ["--by", "word"]])
def test_other_programs_read_it(table, finished_run, csv_file, tmp_path, library, options):
    programs = pytest.importorskip(library)
    words = ["--file", csv_file, "--text-column", "sentence", *options]
    expected = table(finished_run, *words)[0]
    path = tmp_path / "out.tsv"
    if library == "pandas":
        found = programs.read_csv(path, sep="\t", keep_default_na=False, na_values=[""])
    else:
        found = programs.read_csv(path, separator="\t")
    assert list(found.columns) == list(expected[0]) and len(found) == len(expected)
    assert list(found["token"]) == [row["token"] for row in expected]
    assert list(found["known"]) == [row["known"] == "true" for row in expected]
    for name in ("surprisal", "entropy", "entropy_reduction", "rank", "log_frequency"):
        numbers = [math.nan if value is None else float(value) for value in found[name]]
        assert numbers == pytest.approx(
            [float(row[name] or "nan") for row in expected], nan_ok=True, rel=1e-15
        )


def test_standard_output_and_several_runs(command, finished_run, a_run):
    status, out, _ = command("score", finished_run, "I grew", "--tsv", "-", "--also", a_run)
    rows = read(out)
    assert status == 0 and list(rows[0])[len(COLUMNS) :] == [
        "surprisal_sd",
        "entropy_sd",
        "entropy_reduction_sd",
        "rank_sd",
    ]
    assert [row["surprisal_sd"] for row in rows] == ["0.0"] * 3


def test_its_own_file_is_written_again_and_no_other(table, refused, finished_run, tmp_path):
    for text in ("I grew", "I speak ."):
        rows, _ = table(finished_run, text)
    assert [row["token"] for row in rows] == ["I", "speak", ".", "<eos>"]
    other = tmp_path / "mine.tsv"
    other.write_text("sentence_id\tmine\n")
    said = refused("score", finished_run, "I grew", "--tsv", other)
    assert "--overwrite" in said and other.read_text() == "sentence_id\tmine\n"
    assert "--tsv" in refused("score", finished_run, "I grew", "--tsv", tmp_path / "no" / "x.tsv")


@pytest.mark.parametrize(
    "words, said",
    [
        (["--base", "e"], "--base: has an effect only together with --tsv"),
        (["--adapt", "1"], "--adapt: has an effect only together with --tsv"),
        (["--tsv", "-", "--json"], "--json and --tsv"),
        (["--tsv", "-", "--by", "word", "--regions", "|"], "--by and --regions"),
        (["--tsv", "-", "--punctuation", "joined"], "only together with --by word"),
        (["--tsv", "-", "--adapt", "-1"], "--adapt: found -1"),
        (["--tsv", "-", "--adapt", "nan"], "--adapt: found nan"),
        (["--tsv", "-", "--regions", " "], "--regions: found an empty sign"),
        (["--tsv", "-", "--adapt", "1e300"], "is not finite after line 1"),
    ],
)
def test_mistakes_are_named(refused, finished_run, words, said):
    assert said in refused("score", finished_run, "I grew up\nI grew", *words)


def test_runs_of_other_words_are_refused(make_model):
    model = make_model()
    other = Vocabulary.build(LINES[:2], tokenization="words")
    model_of_others = LanguageModel.from_config(model.config, other)
    with pytest.raises(Exception, match="do not have the same vocabulary"):
        rows_of([model, model_of_others], "I grew")
