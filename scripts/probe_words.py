"""What the built-in probe suites are made of: facts, names, and sentences that say nothing (`make_probes.py`)."""

from __future__ import annotations

COUNTRIES = [
    row.split("/")
    for row in """
France/French/French/Paris Italy/Italian/Italian/Rome Germany/German/German/Berlin Spain/Spanish/Spanish/Madrid
Japan/Japanese/Japanese/Tokyo Portugal/Portuguese/Portuguese/Lisbon Greece/Greek/Greek/Athens
Poland/Polish/Polish/Warsaw Sweden/Swedish/Swedish/Stockholm Norway/Norwegian/Norwegian/Oslo
Denmark/Danish/Danish/Copenhagen Finland/Finnish/Finnish/Helsinki Iceland/Icelandic/Icelandic/Reykjavik
Hungary/Hungarian/Hungarian/Budapest Romania/Romanian/Romanian/Bucharest Turkey/Turkish/Turkish/Ankara
Russia/Russian/Russian/Moscow England/English/English/London Egypt/Egyptian/Arabic/Cairo
China/Chinese/Mandarin/Beijing Vietnam/Vietnamese/Vietnamese/Hanoi Thailand/Thai/Thai/Bangkok""".split()
]
COUNTRY, NATIONALITY, LANGUAGE, CAPITAL = range(4)

WOMEN = "Maria Anna Laura Sarah Emma Julia Clara Elena Alice Hannah Ruth Margaret".split()
MEN = "Thomas Peter David Martin Carlos Paolo Robert George Henry Hugo William Edward".split()

# Cues end in the word that decides, and a full stop; {c} is the country.
CUES = ["I grew up in {c}.", "I was born in {c}.", "I spent my childhood in {c}."]
CAPITALS = ["I still have a home in", "I often fly back to", "The capital of my country is"]
LANGUAGES = ["I speak fluent", "I still dream in", "At home we speak"]
PASSPORTS = ["My passport is", "I will always be"]

# A woman's cue and a man's, the answers, the last sentence's beginning; {t} is a trade, {w} and {m} are names.
GENDERS = [
    ("My mother is a {t}", "My father is a {t}", "she", "he", "In the evening"),
    ("My sister is a {t}", "My brother is a {t}", "her", "him", "I often play chess with"),
    ("My aunt is a {t}", "My uncle is a {t}", "her", "his", "I found one of"),
    ("{w} is a {t}", "{m} is a {t}", "she", "he", "Every morning"),
    ("{w} is a {t}", "{m} is a {t}", "her", "him", "I still have a picture of"),
]
FIGURES = "queen/king girl/boy woman/man actress/actor princess/prince nun/monk".split()
TRADES = "nurse teacher baker farmer lawyer painter cook tailor pilot surgeon butcher dentist musician potter".split()

# Sentences without people, countries, pronouns, quotation marks and brackets. A slot is a list of SLOTS.
FILLERS = """The {adj} {thing} {near} the {place} is {colour}.
There is a {colour} {thing} {near} the {adj} {place}.
The {adj} {vehicle} to the {place} leaves at {number} every {day}.
In {month} the {weather} often lasts for {number} days.
The {adj} {place} has {number} {colour} windows and a {colour} door.
The {items} in the {adj} {box} are {colour}.
The market {near} the {river} sells {fruit} and {vegetable}.
The radio in the {adj} {place} plays {instrument} music every {day}.
A {adj} book about {subject} is under the {colour} {furniture}.
The {thing} {near} the {furniture} is {adj} and made of {material}.
The {adj} {tree} {near} the {river} is very {size}.
Every {day} the {weather} comes from the {river}.
The {furniture} in the {adj} {place} is {size} and {colour}.
There are {number} {items} under the {colour} {furniture}.
The street has {number} lamps and a {adj} {tree}.""".split("\n")
SLOTS = {
    name: words.split(", ")
    for name, words in (
        line.split(": ")
        for line in """
adj: old, new, small, large, beautiful, strange, famous, quiet, narrow, simple, ancient, empty, cheap, enormous, ugly
thing: lamp, clock, chair, mirror, basket, bottle, candle, carpet, ladder, bicycle, map, drum, statue, boat, bell, coat
near: near, behind, beside, opposite
place: market, school, station, library, church, museum, theatre, hospital, factory, hotel, castle, bank, cinema, bakery
colour: red, blue, green, white, black, yellow, brown, grey
vehicle: bus, train, tram, boat, ferry
number: two, three, four, five, six, seven, eight, nine, ten
day: morning, evening, night, week, month, summer, winter, Monday, Tuesday, Wednesday, Thursday, Friday, Saturday
month: January, February, March, April, May, June, July, August, September, October, November, December
weather: rain, wind, snow, fog
items: keys, coins, letters, rings, stamps, tickets, buttons, shells
box: box, bag, jar, bowl
river: river, bridge, park, lake, forest, harbour, square
fruit: apples, plums, pears, grapes, oranges, lemons
vegetable: beans, potatoes, carrots, onions, tomatoes, mushrooms
instrument: piano, violin, guitar, flute, organ
subject: history, music, physics, law, chemistry, medicine
furniture: table, bed, window, shelf, desk, sofa
material: wood, glass, stone, silver, leather
tree: tree, oak, birch, pine
size: small, large, old""".strip().split("\n")
    )
}

NOUNS = "key/keys letter/letters coin/coins ring/rings stamp/stamps ticket/tickets button/buttons shell/shells".split()
ATTRACTORS = "box/boxes bag/bags jar/jars bowl/bowls cup/cups table/tables door/doors".split()
PLACES_OF = ["behind the", "near the", "beside the", "under the"]

# group, then questions: prefix = target; the two of a line are a pair, and each other's foil.
CONTROLS = """sun	The sun rises in the = east	The sun sets in the = west
sun	Every morning the sun rises in the = east	Every evening the sun sets in the = west
young	A young cow is called a = calf	A young dog is called a = puppy
young	A young cat is called a = kitten	A young sheep is called a = lamb
young	A young horse is called a = foal	A young bear is called a = cub
dwelling	A bee lives in a = hive	A bird lives in a = nest
dwelling	A lion lives in a = den	A horse lives in a = stable
nature	Snow is = white	Grass is = green
opposites	The opposite of hot is = cold	The opposite of big is = small
opposites	The opposite of happy is = sad	The opposite of light is = dark
opposites	The opposite of fast is = slow	The opposite of open is = closed
opposites	The opposite of old is = new	The opposite of full is = empty
counting	A week has seven = days	A year has twelve = months
proverb	The early bird catches the = worm	Where there is smoke, there is = fire
grammar	I have been waiting for a long = time	I have been living in the same = house
grammar	She is a year older = than	She is as old = as
grammar	He wants = to	He is afraid = of
grammar	I often play the piano and the = violin	I often play chess and = tennis
grammar	For breakfast I eat bread and drink = coffee	For lunch I eat fish and = vegetables""".split(
    "\n"
)
DIRECT = [
    ("country, capital", "The capital of {c} is", CAPITAL),
    ("country, language", "Most people in {c} speak", LANGUAGE),
]
DAYS = SLOTS["day"][7:] + ["Sunday"]
