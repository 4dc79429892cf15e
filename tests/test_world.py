"""The constructed languages differ as declared, and in nothing else."""

import random

import pytest

from microworld import concepts
from microworld.concepts import Clause, Phrase
from microworld.grammar import LANGUAGES, Say, lexicons
from microworld.settings import LANGUAGE_CODES, MicroSettings
from microworld.world import SPLITS, World, split_of

MIRA = Phrase("name1", "", entity="PER")
CLAUSE = Clause(
    MIRA, "give", Phrase("apple", "the", "red"), Phrase("name2", "", entity="PER"), Phrase("place3", "", entity="LOC"),
    Phrase("month1", ""), negated=True,
)  # fmt: skip


@pytest.fixture(scope="module")
def world():
    return World(MicroSettings(documents=2000))


def glossed(world, code, say):
    """A sentence with concept ids for words; "give-past" for a verb with its suffix."""
    names = {form: concept for concept, form in world.words[code].items() if concept not in concepts.CONVERSIONS}
    out = []
    for token in world.voices[code].realize(say):
        stem, *suffixes = token.text.split("-")
        out.append(names.get(stem, stem) + "".join(names["-" + suffix] for suffix in suffixes))
    return " ".join(out)


def test_one_clause_in_several_languages_voices_and_questions(world):
    passive = Say(CLAUSE._replace(negated=False), "passive")
    question = Say(CLAUSE, ask="object")
    assert glossed(world, "qaa", Say(CLAUSE)) == "name1 not give-past the red apple to name2 in place3 at month1 ."
    assert glossed(world, "qah", Say(CLAUSE)) == "name1 month1-loc place3-loc name2-dat apple-acc red give-past not ."
    assert glossed(world, "qac", Say(CLAUSE)) == "give-past not name1 the apple red to name2 in place3 at month1 ."
    assert glossed(world, "qaa", passive) == "the red apple give-passive-past by name1 to name2 in place3 at month1 ."
    assert glossed(world, "qaa", Say(CLAUSE, "fronted")).startswith("in place3 name1 not give-past")
    assert glossed(world, "qaa", question) == "what name1 not give-past to name2 in place3 at month1 ?"
    assert glossed(world, "qah", question) == "name1 month1-loc place3-loc name2-dat what give-past not ?"
    assert "=give-past" in glossed(world, "qaa", Say(CLAUSE, synonym=True))


def test_the_four_controlled_languages_separate_lexicon_from_order():
    foreign_words = [x for x in LANGUAGES.values() if x.cognates == 0 and x.order_distance == 0]
    own_words = [x for x in LANGUAGES.values() if x.cognates > 0.8 and x.order_distance > 0.5]
    assert len(foreign_words) == 2 and len(own_words) == 2
    assert all(x.morphology_distance == 0 for x in foreign_words + own_words)
    assert LANGUAGES["qaa"].distance == 0 and len(LANGUAGES) >= 7
    assert len({x.script for x in LANGUAGES.values()}) >= 4
    assert len({round(x.distance, 3) for x in LANGUAGES.values()}) == len(LANGUAGES)


@pytest.mark.parametrize("code", LANGUAGE_CODES[1:])
def test_shared_words_are_as_many_as_declared(code):
    words = lexicons(LANGUAGE_CODES, 0)
    common = set(concepts.COMMON) - set(concepts.CONVERSIONS)
    for group, declared in ((concepts.PROPER, LANGUAGES[code].names), (common, LANGUAGES[code].cognates)):
        shared = sum(words[code][concept] == words["qaa"][concept] for concept in group) / len(group)
        assert shared == pytest.approx(declared, abs=0.03)


def test_no_word_means_two_things_but_for_conversions():
    words = lexicons(LANGUAGE_CODES, 0)
    meaning = {}
    for table in words.values():
        for concept, form in table.items():
            concept = concepts.CONVERSIONS.get(concept, concept)
            assert meaning.setdefault(form, concept) == concept


def test_text_follows_habits_and_tasks_do_not(world):
    rng = random.Random(0)

    def at_home(sharp):
        events = [world.event(rng, sharp) for _ in range(3000)]
        placed = [clause for clause in events if clause.place]
        return sum(clause.place.head == world.home[clause.subject.head] for clause in placed) / len(placed)

    assert at_home(0.75) > 0.7
    assert at_home(0.0) < 0.15


def test_a_clause_belongs_to_one_split_whatever_its_voice(world):
    rng = random.Random(0)
    clauses = [world.event(rng) for _ in range(3000)]
    shares = {split: sum(split_of(clause) == split for clause in clauses) / 3000 for split in set(SPLITS)}
    assert shares == pytest.approx({"train": 0.6, "dev": 0.2, "test": 0.2}, abs=0.04)
    for clause in clauses[:50]:
        assert split_of(clause) == split_of(clause._replace(negated=True, tense="present", order=2))


def test_text_is_deterministic_unaligned_and_weighted_to_the_source(world):
    text = world.text(1)
    assert text == World(world.settings).text(1)
    assert text["text"] != world.text(2)["text"]
    assert text["language"].count("qaa") / len(text["language"]) == pytest.approx(2 / 9, abs=0.03)


def test_code_mixing_is_a_dial():
    def source_words(mixing):
        world = World(MicroSettings(languages=("qaa", "qaf"), documents=2000, code_mixing=mixing))
        text = world.text(1)
        own = set(world.words["qaa"].values())
        foreign = [t for t, code in zip(text["text"], text["language"], strict=True) if code == "qaf"]
        return sum(any(word.split("-")[0].strip(".?") in own for word in t.split()) for t in foreign) / len(foreign)

    assert source_words(0.0) == 0  # no cognate, no shared name, no shared suffix
    assert 0.1 < source_words(0.2) < 0.25
