"""The rankings of the micro-world: LAReQA's questions and sentences, Mewsli-X's mentions and descriptions.

Queries are the same in every language, and so are their ids. Every query has its gold and no other right answer:
no sentence elsewhere answers it, and no namesake of its person does what is told of it.
"""

import random
from typing import Any

from microworld import concepts
from microworld.concepts import FAMILIES, KINDS, NAMES, PLACES, ROLES, Clause, Phrase
from microworld.grammar import Say, Voice, render
from microworld.pairs import say
from microworld.tasks import matches, squad1
from microworld.world import World

SPLITS = {"lareqa": ("test", "pool"), "mewslix": ("train", "test", "pool")}  # LAReQA's training set is squad1's
SENTENCES = 3  # of a passage
LIKED = ("food", "tool", "animal")
# of Mewsli-X's test set: whoever shares a name shares no liking
MOST_PEOPLE = len(NAMES) * len(FAMILIES) * min(len(KINDS[kind]) for kind in LIKED)


def size(name: str, split: str, language: str, queries: int, languages: tuple[str, ...]) -> int:
    """Rows of a set with so many queries, or training pairs."""
    if split != "pool":
        return queries
    if name == "lareqa":
        return SENTENCES * queries
    return len(range(languages.index(language), queries, len(languages)))


def check(name: str, split: str, queries: int) -> None:
    """ValueError for a set larger than the world is."""
    if name == "mewslix" and split != "train" and queries > MOST_PEOPLE:
        raise ValueError(
            f"micro.ranking.test: {queries}, and mewslix has {MOST_PEOPLE} people at most: make it smaller or leave "
            "mewslix out"
        )


def rows(world: World, name: str, split: str, language: str, queries: int) -> list[dict]:
    """The rows of a set in one language; in the columns of a ranking."""
    check(name, split, queries)
    voice = world.voices[language]
    if name == "lareqa":
        return _lareqa(world, voice, split, language, _passages(world, queries))
    if split == "train":
        people = _people(world, "train", queries)
        return [
            {"id": f"mewslix-train-{n}", "query": _mention(world, voice, bio), "candidate": _life(world, voice, bio)}
            for n, bio in enumerate(people)
        ]
    numbered, codes = list(enumerate(_people(world, "test", queries))), world.settings.languages
    if split == "pool":  # each described in one of the languages
        bios = [(f"entity{n}", _life(world, voice, bio)) for n, bio in numbered if codes[n % len(codes)] == language]
        return [{"id": key, "text": text, "language": language, "keys": [key]} for key, text in bios]
    return [
        {"id": f"mewslix-test-{n}", "text": _mention(world, voice, bio), "language": language, "keys": [f"entity{n}"]}
        for n, bio in numbered
    ]


# ---- LAReQA


def _passages(world: World, count: int) -> list[dict]:
    """Passages with a question each, as squad1's; no sentence of another passage answers it."""
    rng = random.Random(f"lareqa test {world.settings.world_seed}")
    plans: list[dict] = []
    while len(plans) < count:
        plan = squad1(world, rng, "test", len(plans))
        if not any(_answers(plan, other) or _answers(other, plan) for other in plans):
            plans.append(plan)
    return plans


def _answers(plan: dict, other: dict) -> bool:
    """Whether a sentence of the one passage answers the question on the other."""
    question = other["question"][0]
    return any(matches(question.clause, sentence.clause, question.ask) for sentence in plan["context"])


def _lareqa(world: World, voice: Voice, split: str, language: str, plans: list[dict]) -> list[dict]:
    examples = []
    for number, plan in enumerate(plans):
        key = f"lareqa-test-{number}"
        if split == "test":
            question = render(world.voice_parts(voice, plan["question"]))[0]
            examples.append({"id": key, "text": question, "language": language, "keys": [key]})
            continue
        sentences = [render(voice.realize(part))[0] for part in plan["context"]]
        context = " ".join(sentences)
        for index, sentence in enumerate(sentences):
            keys = [key] if index == plan["told"][0] else []
            identity = f"{language}_{number}_{index}"
            examples.append({"id": identity, "text": f"{sentence} {context}", "language": language, "keys": keys})
    return examples


# ---- Mewsli-X


def _people(world: World, split: str, count: int) -> list[dict]:
    """People with a family name and habits of their own, each with something that is told of them."""
    rng = random.Random(f"mewslix {split} {world.settings.world_seed}")
    people: list[dict] = []
    while len(people) < count:
        person = Phrase(rng.choice(NAMES), "", "", rng.choice(FAMILIES), "PER")
        home = Phrase(rng.choice(PLACES), "", entity="LOC")
        bio: dict[str, Any] = {"person": person, "job": rng.choice(ROLES), "home": home}
        bio |= {kind: Phrase(rng.choice(KINDS[kind])) for kind in LIKED}
        namesakes = [other for other in people if other["person"] == person]
        if split == "test" and any(other[kind] == bio[kind] for other in namesakes for kind in LIKED):
            continue  # what is told would be true of either
        kind = rng.choice(LIKED)
        clause = Clause(person, rng.choice(concepts.VERBS[kind]), bio[kind], place=home if rng.random() < 0.5 else None)
        people.append(bio | {"told": say(world, rng, clause)})
    return people


def _mention(world: World, voice: Voice, bio: dict) -> str:
    """The name, then a sentence with it (the braces of the original around it are no words of this world)."""
    return render(world.voice_parts(voice, [bio["person"], ".", bio["told"]]))[0]


def _life(world: World, voice: Voice, bio: dict) -> str:
    """What somebody is, where they live and what they like."""
    person = bio["person"]
    clauses = [
        Clause(person, "be", Phrase(bio["job"], "some"), tense="present"),
        Clause(person, "live", place=bio["home"], tense="present"),
        *(Clause(person, concepts.VERBS[kind][-1], bio[kind], tense="present") for kind in LIKED),
    ]
    return render(world.voice_parts(voice, [Say(clause) for clause in clauses]))[0]
