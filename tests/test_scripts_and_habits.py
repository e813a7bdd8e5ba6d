"""Texts as people write them: what stays whole, what comes apart, and every script displayed.

`test_round_trip` tries the rules on all characters; these are the cases in letters.
"""

import pytest

from lstm_lm.corpus.vocabulary import Vocabulary

ENGLISH = ["I grew up in France ."] * 20
FRENCH = ["L'homme n'a pas d'ami.", "C'est l'eau qu'il aime.", "J'ai dit qu'elle n'est pas là."] * 9
ITALIAN = ["Non c'è più l'acqua dell'isola.", "Un'altra volta l'uomo d'oro.", "C'era all'alba."] * 9


def words_of(text, lines):
    return " ".join(Vocabulary.build(lines, tokenization="words").split_text(text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I love 🇫🇷, 🇯🇵🇮🇹!", "I love 🇫🇷 , 🇯🇵 🇮🇹 !"),
        ("I don´t know; it`s late.", "I do n't know ; it 's late ."),
        ("See https://example.org/a?b=1&c=2.", "See https://example.org/a?b=1&c=2 ."),
        ("Visit www.example.com, please.", "Visit www.example.com , please ."),
        ("Write to a.b@mail.example.org!", "Write to a.b@mail.example.org !"),
        ("@anna likes #cats, #2nd.", "@anna likes #cats , #2nd ."),
        ("Good :-) or bad :(", "Good :-) or bad :("),
        ("l'homme of n'a", "l'homme of n'a"),  # an English text has no elisions
    ],
)
def test_what_an_english_text_keeps_whole(text, words):
    assert words_of(text, ENGLISH) == words


@pytest.mark.parametrize(
    ("lines", "text", "words"),
    [
        (
            FRENCH,
            "L'homme n'a rien; aujourd'hui j'irai.",
            "L' homme n' a rien ; aujourd'hui j' irai .",
        ),
        (FRENCH, "Qu’est-ce qu’il dit?", "Qu' est-ce qu' il dit ?"),
        (ITALIAN, "Dell'uomo l'altra c'è.", "Dell' uomo l' altra c' è ."),
    ],
)
def test_elisions_come_apart_in_their_languages(lines, text, words):
    assert words_of(text, lines) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("我们去公园，他说好。", "我 们 去 公 园 ， 他 说 好 。"),
        ("吾輩は猫である。", "吾 輩 は 猫 で あ る 。"),
        ("สวัสดี", "ส วั ส ดี"),
        ("오늘은 날씨가 좋다.", "오늘은 날씨가 좋다 ."),  # Korean has spaces
        ("LSTM很好", "LSTM 很 好"),
    ],
)
def test_scripts_without_spaces_are_split_into_characters(text, words):
    assert words_of(text, [text] * 9) == words


def test_chinese_words_that_are_spaced_already_stay_whole():
    text = "我们 去 公园 ， 他 说 好 。"
    assert words_of(text, [text] * 9) == text


@pytest.mark.parametrize(
    "text",
    [
        "मैं फ्रांस में रहा। वह घर है।",
        "هل تسمعني؟ نعم، أسمعك.",
        "قال «مرحبا» ثم ذهب.",
        "我们去公园，他说：「好。」",
        "吾輩は猫である。名前はまだ無い。",
        "สวัสดีชาวโลก",
        "L'homme n'a pas d'ami.",
        "Good :-) at https://example.org, @anna!",
    ],
)
def test_every_script_is_displayed_as_it_is_written(text):
    vocabulary = Vocabulary.build([text] * 9, tokenization="words")
    assert vocabulary.display(vocabulary.split_text(text)) == text
