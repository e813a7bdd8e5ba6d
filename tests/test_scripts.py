"""Texts of many scripts and habits: their words are right, and they are displayed as written."""

import pytest

from lstm_lm.corpus.vocabulary import Vocabulary

# name -> text, its words
SCRIPTS = {
    "Chinese": ("我喜欢学习中文，因为它很有趣。", "我 喜 欢 学 习 中 文 ， 因 为 它 很 有 趣 。"),
    "Chinese with Latin": ("2024年，我用Python写代码！", "2024 年 ， 我 用 Python 写 代 码 ！"),
    "Chinese brackets": (
        "《红楼梦》（曹雪芹）、“好”：对吗？".replace("“", '"').replace("”", '"'),
        '《 红 楼 梦 》 （ 曹 雪 芹 ） 、 " 好 " ： 对 吗 ？',
    ),
    "Chinese dash and dots": ("他——真的……走了。".replace("…", "..."), None),
    "Japanese": (
        "私は日本語を勉強しています。コーヒーが好きだ！",
        "私 は 日 本 語 を 勉 強 し て い ま す 。 コ ー ヒ ー が 好 き だ ！",
    ),
    "Japanese quotes": ("「はい」と言った・・・人々", "「 は い 」 と 言 っ た ・ ・ ・ 人 々"),
    "Japanese halfwidth": ("ｶﾞｷﾞ", "ｶ ﾞ ｷ ﾞ"),
    "Thai": ("ฉันรักภาษาไทยที่สุด", "ฉั น รั ก ภ า ษ า ไ ท ย ที่ สุ ด"),
    "Thai with numbers": ("ปี 2567 ต่างๆ", "ปี 2567 ต่ า ง ๆ"),
    "Lao": ("ພາສາລາວ", "ພ າ ສ າ ລ າ ວ"),
    "Khmer": ("ភាសាខ្មែរ។", "ភា សា ខ្មែ រ ។"),
    "Burmese": ("မြန်မာ။", "မြ န် မာ ။"),
    "Korean": ("나는 한국어를 공부합니다.", "나는 한국어를 공부합니다 ."),
    "Hindi": ("मैं हिन्दी पढ़ता हूँ। क्यों?", "मैं हिन्दी पढ़ता हूँ । क्यों ?"),
    "Bengali": ("আমি বাংলা পড়ি।", "আমি বাংলা পড়ি ।"),
    "Tamil": ("நான் தமிழ் படிக்கிறேன்.", "நான் தமிழ் படிக்கிறேன் ."),
    "Arabic": ("قال: «مرحبا»، هل أنت بخير؟", "قال : « مرحبا » ، هل أنت بخير ؟"),
    "Urdu": ("یہ اردو ہے۔", "یہ اردو ہے ۔"),
    "Persian": ("من می\u200cخواهم؛", "من می\u200cخواهم ؛"),
    "Hebrew": ('צה"ל וצה״ל בית־ספר, "שלום".', 'צה"ל וצה״ל בית־ספר , " שלום " .'),
    "Russian": ("Он сказал: «Привет, мир!»", "Он сказал : « Привет , мир ! »"),
    "Ukrainian": ("п'ять м'ячів.", "п'ять м'ячів ."),
    "Greek": ("Τι κάνεις; Καλά.", "Τι κάνεις ; Καλά ."),
    "Armenian": ("Ինչպե՞ս ես։", "Ինչպե՞ս ես ։"),
    "Georgian": ("გამარჯობა, მსოფლიო!", "გამარჯობა , მსოფლიო !"),
    "Amharic": ("ሰላም ነው። እሺ፣", "ሰላም ነው ። እሺ ፣"),
    "German": ("Er sagte: »Grüß Gott!« Ja.", "Er sagte : » Grüß Gott ! « Ja ."),
    "Spanish": ("¿Qué tal? ¡Hola!", "¿ Qué tal ? ¡ Hola !"),
    "Catalan": ("la col·lecció és aquí.", "la col·lecció és aquí ."),
    "French": (
        "L'homme n'a pas dit qu'il viendrait aujourd'hui.",
        "L' homme n' a pas dit qu' il viendrait aujourd'hui .",
    ),
    "Italian": ("L'amico dell'uomo: c'è un'idea.", "L' amico dell' uomo : c' è un' idea ."),
    "English": ("It's o'clock; O'Brien don't.", "It 's o'clock ; O'Brien do n't ."),
    "Vietnamese": ("Tiếng Việt rất đẹp.", "Tiếng Việt rất đẹp ."),
    "Turkish": ("İstanbul'da yaşıyorum.", "İstanbul'da yaşıyorum ."),
}


@pytest.mark.parametrize(("text", "words"), SCRIPTS.values(), ids=SCRIPTS)
def test_text_is_split_and_displayed_as_written(text, words):
    vocabulary = Vocabulary.build(["two words", text], tokenization="words")
    found = vocabulary.split_text(text)
    assert words is None or found == words.split()
    assert vocabulary.unk_id not in vocabulary.ids_of(found)
    assert vocabulary.display(found) == text
    lines = vocabulary.display([*found, "<eos>", *found, "<eos>"])
    assert lines == f"{text}\n{text}\n"


# natural text -> its words, under a vocabulary of English text
HABITS = {
    "flags": ("🇫🇷🇩🇪 🇯🇵!", "🇫🇷 🇩🇪 🇯🇵 !"),
    "a flag of tags": ("🏴\U000e0067\U000e0062\U000e007f.", "🏴\U000e0067\U000e0062\U000e007f ."),
    "families": ("👨‍👩‍👧👍🏽❤️🏳️‍🌈", "👨‍👩‍👧 👍🏽 ❤️ 🏳️‍🌈"),
    "keycaps": ("1️⃣2️⃣ #️⃣ 12", "1️⃣ 2️⃣ #️⃣ 12"),
    "typewriter apostrophes": ("don´t it`s we′re donʼt l＇x", "do n't it 's we 're do n't l'x"),
    "not apostrophes": ("5′10 `code` ´x", "5 ′ 10 ` code ` ´ x"),
    "web addresses": (
        "see https://a.org/x_(y)?q=1#z, (www.b.com). ftp://c/",
        "see https://a.org/x_(y)?q=1#z , ( www.b.com ) . ftp://c/",
    ),
    "e-mail": ("Mail me@a-b.co.uk.", "Mail me@a-b.co.uk ."),
    "domains": ("example.com/a, node.io's end.He", "example.com/a , node.io 's end . He"),
    "names": ("@john_doe's @a@b.org: a @ b", "@john_doe 's @a@b.org : a @ b"),
    "tags": ("#tag, #2nd #1 C# #日本", "#tag , #2nd # 1 C # #日本"),
    "faces": (":-) ;) :( nice:) :D :P <3 ^_^ o_O :'(", ":-) ;) :( nice :) :D :P <3 ^_^ o_O :'("),
    "no faces": ("12:30 a:D f=(x) a<3 x:/y", "12 : 30 a : D f = ( x ) a < 3 x : / y"),
    "two contractions": ("I'dn't've it'sn't", "I 'd n't 've it 's n't"),
    "invisible marks": ("\u200fa\u2060b\u200e c\u200bd", "ab c d"),
    "Han in English": ("the word 你好 means hello to me", "the word 你 好 means hello to me"),
}


@pytest.mark.parametrize(("text", "words"), HABITS.values(), ids=HABITS)
def test_habits_of_the_web(text, words):
    vocabulary = Vocabulary.build(["some words of English text"], tokenization="words")
    assert vocabulary.split_text(text) == words.split()
    assert vocabulary.split_text(words) == words.split()


@pytest.mark.parametrize(
    ("text", "spaced"),
    [
        ("我 喜欢 学习 中文 ， 因为 它 很 有趣 。", True),
        ("我喜欢学习中文， 因为它很有趣。 他也喜欢学习日文", False),
        ("月光光 照地堂 你乖乖 睡落床", True),
        ("今天天气很好 我们一起去公园吧 明天可能会下雨", False),
        ("私 は 日本語 を 勉強 し て い ます 。", True),
        ("ฉัน รัก ภาษา ไทย ที่สุด", True),
        ("ฉันรักภาษาไทยที่สุด เพราะเป็นภาษาที่สวยงาม", False),
        ("ខ្ញុំ\u200bស្រឡាញ់\u200bភាសា\u200bខ្មែរ", True),
        ("你好。\n谢谢。\n再见。", False),
    ],
)
def test_words_that_are_spaced_stay_whole(text, spaced):
    vocabulary = Vocabulary.build(text.split("\n"), tokenization="words")
    assert vocabulary.recipe.separate_characters is not spaced
    if spaced and "\u200b" not in text:
        assert vocabulary.split_text(text) == text.split()
        assert vocabulary.display("我 喜欢 学习 。".split()) == "我 喜欢 学习。"


@pytest.mark.parametrize(
    ("text", "elided"),
    [
        ("C'est l'heure d'aller à l'école.", True),
        ("Dell'acqua e un'idea nell'anno", True),
        ("Qu’il vienne.", True),
        ("I don't know, it's o'clock, isn't it? Rock'n'roll", False),
        ("D'Artagnan said that he would come back. " + "And so he did at last. " * 20, False),
        ("the boys' house", False),
    ],
)
def test_elisions_are_split_in_languages_that_have_them(text, elided):
    assert Vocabulary.build([text, "a b"], tokenization="words").recipe.elisions is elided


def test_elisions_need_a_vowel():
    vocabulary = Vocabulary.build(["l'eau, l'air"], tokenization="words")
    words = "l' Hôtel qu' 8 c'mon presqu'île aujourd'hui N' A D' Oh".split()
    text = "l'Hôtel qu'8 c'mon presqu'île aujourd'hui N'A D'Oh"
    assert vocabulary.split_text(text) == words and vocabulary.display(words) == text
    assert vocabulary.split_text(" ".join(words)) == words


@pytest.mark.parametrize(
    "text",
    [
        "the word 你好 means hello to me",
        "你好，world和Python 3。",
        '他说"你好"然后走了（真的）。',
        "看 #日本 你 @john 好",
        "请看https://a.org/b吧",
        "ภาษา Thai ง่าย",
        "«oui» et ‹non›",
        "»ja« und «oui»",
    ],
)
def test_mixed_lines_are_displayed_as_written(text):
    vocabulary = Vocabulary.build([text, "a b"], tokenization="words")
    assert vocabulary.display(vocabulary.split_text(text)) == text


def test_old_models_display_words_apart_as_they_read_them():
    old = Vocabulary.build(["我喜欢 学习。", "a b"], tokenization="words", version=1)
    words = old.split_text("我喜欢 学习。")
    assert words == ["我喜欢", "学习", "。"] and old.display(words) == "我喜欢 学习。"


@pytest.mark.parametrize(
    ("prompt", "words", "text"),
    [
        ("I", "like it .", "I like it."),
        ("I like", ", it", "I like, it"),
        ("I like ", "it", "I like it"),
        ("I\n", "like", "I\nlike"),
        ("", ". a", ". a"),
        ("  ", "a", "  a"),
        ("I", "", "I"),
        ("(", "a )", "(a)"),
        ("我喜欢", "学 习 。 <eos> 你", "我喜欢学习。\n你"),
        ("ภาษา", "ไ ท ย", "ภาษาไทย"),
        ("it", "'s <unk>", "it's <unk>"),
    ],
)
def test_a_prompt_and_its_continuation_are_one_text(prompt, words, text):
    vocabulary = Vocabulary.build(["some words"], tokenization="words")
    assert vocabulary.join(prompt, words.split()) == text


def test_the_options_are_chosen_by_the_first_million_characters(monkeypatch):
    """A line may be longer than that; what comes later is split by the same options."""
    spaced, unspaced = "我 喜欢 学习 。 " * 20, "我喜欢学习中文。" * 20
    monkeypatch.setattr("lstm_lm.corpus.vocabulary._SAMPLE_LENGTH", 100)
    for lines, separate in (
        ([spaced, unspaced * 9], False),
        ([unspaced, spaced * 9], True),
        ([spaced + unspaced * 9], False),
        (["English. " * 20, spaced], True),
    ):
        vocabulary = Vocabulary.build(lines, tokenization="words")
        assert vocabulary.recipe.separate_characters is separate
        assert vocabulary.unk_id not in [i for line in vocabulary.encode_lines(lines) for i in line]
