"""The constructed languages: how they are declared, how far each is from the source, and how a
clause is put into words.

The language codes are private-use ones of ISO 639-2 (qaa–qtz). Following the "fake English" studies
(K et al. 2020; Dufter and Schütze 2020; Deshpande et al. 2022) lexicon and structure are separate
dials, so that a loss in transfer can be laid at one door or the other.
"""

import random
from dataclasses import dataclass
from typing import NamedTuple

from microworld import concepts
from microworld.concepts import Clause, Phrase

ORDERS = ("SVO", "SOV", "VSO")  # the subject always precedes the object: free order stays unambiguous
LETTERS = {  # consonants, vowels
    "Latin": ("bdfgklmnprstvz", "aeiou"),
    "Greek": ("βγδζθκλμνπρστφ", "αεηιο"),
    "Cyrillic": ("бвгджзклмнпрст", "аеиоу"),
    "Armenian": ("բգդզլխծկմյնպրս", "աեիոօ"),
    "Georgian": ("ბგდვზთკლმნპრსტ", "აეიოუ"),
}


@dataclass(frozen=True)
class Language:
    """A declared language.

    ``cognates``: share of words written exactly as in the source language; ``names``: the same for
    proper names. The remaining fields are its structure; the defaults are the source language's.
    """

    code: str
    name: str
    family: str
    script: str
    cognates: float
    names: float
    order: str = "SVO"
    adjective_first: bool = True
    prepositions: bool = True
    negation_first: bool = True
    question_first: bool = True
    article: bool = True
    case: bool = False

    @property
    def order_distance(self) -> float:
        """Share of the five order features that differ from the source language's."""
        own = (self.adjective_first, self.prepositions, self.negation_first, self.question_first)
        return ((self.order != "SVO") + own.count(False)) / 5

    @property
    def morphology_distance(self) -> float:
        """Share of the two morphological features that differ from the source language's."""
        return ((not self.article) + self.case) / 2

    @property
    def distance(self) -> float:
        """Declared distance from the source language, 0 to 1: the plain mean of the shares of words
        not shared, names not shared, order features and morphological features that differ."""
        return (1 - self.cognates + 1 - self.names + self.order_distance + self.morphology_distance) / 4


SOURCE = Language("qaa", "Amari", "source", "Latin", 1.0, 1.0)
LANGUAGES = {
    language.code: language
    for language in (
        SOURCE,
        Language("qab", "Belu", "near", "Latin", 0.5, 1.0),
        # the source's lexicon, another order
        Language("qac", "Cevo", "lexicon shared", "Latin", 0.85, 1.0, "VSO", adjective_first=False,
                 negation_first=False),
        Language("qad", "Dorim", "lexicon shared", "Latin", 0.85, 1.0, "SOV", adjective_first=False,
                 prepositions=False, negation_first=False, question_first=False),
        # the source's order, another lexicon
        Language("qae", "Esthe", "order shared", "Greek", 0.0, 0.5),
        Language("qaf", "Fyodr", "order shared", "Cyrillic", 0.0, 0.0),
        # both differ
        Language("qag", "Gohar", "far", "Armenian", 0.15, 0.6, "SOV", prepositions=False, question_first=False,
                 case=True),
        Language("qah", "Hatuli", "farthest", "Georgian", 0.0, 0.2, "SOV", adjective_first=False,
                 prepositions=False, negation_first=False, question_first=False, article=False, case=True),
    )
}  # fmt: skip


class Token(NamedTuple):
    """One word. ``text`` is a stem with hyphen-attached suffixes; ``slot`` the part of the meaning it
    voices (subject, verb, object, recipient, place, time, negation, …); ``form`` its grammatical
    form (nom, acc, dat, loc, agent, pred; active, passive for verbs); ``entity`` a BIO tag."""

    text: str
    upos: str
    slot: str
    form: str
    entity: str = "O"


class Say(NamedTuple):
    """A clause to be voiced. ``variant``: plain, fronted (the adjunct first) or passive; ``ask``: the
    slot that is asked for, which makes it a question; ``synonym``: verbs by their other name."""

    clause: Clause
    variant: str = "plain"
    ask: str = ""
    synonym: bool = False


def lexicons(codes: tuple[str, ...], seed: int) -> dict[str, dict[str, str]]:
    """code -> {concept: written form}. No form is used twice, save for cognates, shared names and
    the noun–verb pairs of :data:`concepts.CONVERSIONS`."""
    used: set[str] = set()

    def coin(script: str, syllables: int, rng: random.Random) -> str:
        consonants, vowels = LETTERS[script]
        while True:
            form = "".join(rng.choice(consonants) + rng.choice(vowels) for _ in range(syllables))
            if form not in used:
                used.add(form)
                return form

    tables: dict[str, dict[str, str]] = {}
    for code in LANGUAGES:  # always all: a language's words do not depend on which others are studied
        language, rng = LANGUAGES[code], random.Random(f"lexicon {seed} {code}")
        words = {}
        for group, shared in ((concepts.PROPER, language.names), (concepts.COMMON, language.cognates)):
            same = set() if code == "qaa" else set(rng.sample(group, round(shared * len(group))))
            for concept in group:
                syllables = 3 if concept in concepts.PROPER_SET else 2
                words[concept] = tables["qaa"][concept] if concept in same else coin(language.script, syllables, rng)
        for verb, noun in concepts.CONVERSIONS.items():
            words[verb] = words[noun]
        for suffix in concepts.SUFFIXES:
            shared = code != "qaa" and rng.random() < language.cognates
            words[suffix] = tables["qaa"][suffix] if shared else "-" + coin(language.script, 1, rng)
        tables[code] = words
    return {code: tables[code] for code in codes}


ADPOSITION = {"dat": "to", "loc": "in", "time": "at", "agent": "by"}
CASE = {"acc": "-acc", "dat": "-dat", "loc": "-loc", "time": "-loc"}
WH = {"subject": "who", "recipient": "whom", "place": "where", "time": "when"}
WH_UPOS = {"where": "ADV", "when": "ADV"}


class Voice:
    """A language with its words: turns clauses into tokens. Phrases are cached, for speed."""

    def __init__(self, language: Language, words: dict[str, str]):
        self.language, self.words = language, words
        self.orders = (language.order, *(order for order in ORDERS if order != language.order))
        self._phrases: dict[tuple, list[Token]] = {}

    def phrase(self, phrase: Phrase, form: str, slot: str) -> list[Token]:
        """The tokens of a noun phrase (or predicate) with its case suffix or adposition."""
        key = (phrase, form, slot)
        tokens = self._phrases.get(key)
        if tokens is None:
            tokens = self._phrases[key] = self._phrase(phrase, form, slot)
        return tokens

    def _phrase(self, phrase: Phrase, form: str, slot: str) -> list[Token]:
        language, words = self.language, self.words
        head, det, adjective, other, entity = phrase
        if not head:  # a bare predicate: "the dog is big"
            return [Token(words[adjective], "ADJ", slot, form)]
        text = words[head]
        if det.isdigit():
            text += words["-plural"]
        if language.case and form in CASE:
            text += words[CASE[form]]
        core = [Token(text, concepts.UPOS_OF.get(head, "NOUN"), slot, form)]
        if other:
            named = Token(words[other], "PROPN", slot, form)
            surname_last = head in concepts.NAMES_SET or not language.adjective_first
            core = core + [named] if surname_last else [named] + core
        if entity:
            core = [token._replace(entity=("I-" if i else "B-") + entity) for i, token in enumerate(core)]
        if adjective:
            modifier = Token(words[adjective], "ADJ", slot, form)
            core = [modifier] + core if language.adjective_first else core + [modifier]
        if det.isdigit():
            core = [Token(det, "NUM", slot, form)] + core
        elif det and (det != "the" or language.article):
            core = [Token(words[det], "DET", slot, form)] + core
        if form in ADPOSITION and not (language.case and form in CASE):
            adposition = Token(words[ADPOSITION[form]], "ADP", slot + "-marker", form)
            core = [adposition] + core if language.prepositions else core + [adposition]
        return core

    def realize(self, say: Say) -> list[Token]:
        """The tokens of a clause, final punctuation included."""
        clause, variant, ask, synonym = say
        language, words = self.language, self.words
        subject, verb, obj, recipient, place, time, negated, tense, order = clause
        passive = variant == "passive" and obj is not None and verb not in concepts.NO_PASSIVE
        phrase = self.phrase
        first = phrase(subject, "agent" if passive else "nom", "subject")
        second = phrase(obj, "nom" if passive else "pred" if verb == "be" else "acc", "object") if obj else []
        third = phrase(recipient, "dat", "recipient") if recipient else []
        place_tokens = phrase(place, "loc", "place") if place else []
        time_tokens = phrase(time, "time", "time") if time else []
        front: list[Token] = []
        if ask:
            wh = WH.get(ask) or ("whom" if obj.head in concepts.HUMAN else "what")
            question_word = [Token(words[wh], WH_UPOS.get(wh, "PRON"), "wh", "wh")]
            if language.question_first:
                front, question_word = question_word, []
            if ask == "subject":
                first = question_word
            elif ask == "object":
                second = question_word
            elif ask == "recipient":
                third = question_word
            elif ask == "place":
                place_tokens = question_word
            else:
                time_tokens = question_word
        stem = words["=" + verb] if synonym and verb in concepts.VERB_SET else words[verb]
        if passive:
            stem += words["-passive"]
        if tense == "past":
            stem += words["-past"]
        core = [Token(stem, "AUX" if verb == "be" else "VERB", "verb", "passive" if passive else "active")]
        if negated:
            no = [Token(words["not"], "PART", "negation", "")]
            core = no + core if language.negation_first else core + no
        if passive:  # the object leads, the agent follows as an adjunct
            first, second, third = second, [], first + third
        if variant == "fronted" and not ask and (place_tokens or time_tokens):
            if place_tokens:
                front, place_tokens = place_tokens, []
            else:
                front, time_tokens = time_tokens, []
        sequence = self.orders[order]
        if sequence == "SVO":
            out = front + first + core + second + third + place_tokens + time_tokens
        elif sequence == "VSO":
            out = front + core + first + second + third + place_tokens + time_tokens
        else:
            out = front + first + time_tokens + place_tokens + third + second + core
        out.append(Token("?" if ask else ".", "PUNCT", "end", ""))
        return out


def render(tokens: list[Token]) -> tuple[str, list[int]]:
    """Tokens -> (text, start of each token in code points). Punctuation sticks to the word before."""
    starts, text = [], ""
    for token in tokens:
        if text and token.upos != "PUNCT":
            text += " "
        starts.append(len(text))
        text += token.text
    return text, starts
