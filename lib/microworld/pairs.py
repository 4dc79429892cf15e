"""Tasks on pairs of sentences: inference and paraphrase, as functions on clauses.

Every task function takes (world, rng, split, n) and returns a dict whose texts are lists of clauses,
phrases and words (see ``World.voice_parts``); n is the number of the example, by which labels are
balanced exactly. Because all languages voice the same dict, everything is parallel.

No part alone betrays the label: a hypothesis is drawn before its label, a swapped paraphrase has the
words of a true one. tests/test_micro.py holds them to it.
"""

import random
from collections.abc import Sequence

from microworld import concepts
from microworld.concepts import ANTONYMS, COLOURS, KINDS, MONTHS, NAMES, PLACES, ROLES, Clause, Phrase
from microworld.grammar import Say
from microworld.world import World, split_of

OPPOSITE = {a: b for pair in ANTONYMS for a, b in (pair, pair[::-1])}


def other(rng: random.Random, words: Sequence[str], *not_these: str) -> str:
    """One of the words that is none of those."""
    while True:
        word = rng.choice(words)
        if word not in not_these:
            return word


def say(world: World, rng: random.Random, clause: Clause, synonym: float = 0.0) -> Say:
    """The clause in a random order and voice."""
    clause = clause._replace(order=world.order(rng))
    return Say(clause, world.variant(rng, clause), synonym=rng.random() < synonym)


# ---- inference


def downward(clause: Clause) -> bool:
    """Whether saying less about the event says more: under negation and "no"."""
    return clause.negated or clause.subject.det == "no"


def add_detail(world: World, rng: random.Random, clause: Clause, taken: tuple[str, ...] = ()) -> Clause:
    """The clause with one more detail, if there is room: a place, time, adjective or hyponym."""
    options = [slot for slot in ("place", "time") if getattr(clause, slot) is None and slot not in taken]
    common = clause.object is not None and not clause.object.entity
    if common and not clause.object.adjective and "adjective" not in taken:
        options.append("adjective")
    if common and clause.object.head in KINDS and "object" not in taken:
        options.append("object")
    if not options:
        return clause
    option = rng.choice(options)
    if option == "place":
        return clause._replace(place=Phrase(rng.choice(PLACES), "", entity="LOC"))
    if option == "time":
        return clause._replace(time=Phrase(rng.choice(MONTHS), ""))
    if option == "adjective":
        return clause._replace(object=clause.object._replace(adjective=rng.choice(COLOURS)))
    hyponym = rng.choice(KINDS[clause.object.head])
    return clause._replace(object=clause.object._replace(head=hyponym, det="the"))


def details(clause: Clause) -> list[str]:
    """What a clause can lose or change: place, time, the object's adjective, the object with a hypernym."""
    options = [slot for slot in ("place", "time") if getattr(clause, slot)]
    if clause.object and clause.object.adjective:
        options.append("adjective")
    if clause.object and clause.object.head in concepts.HYPERNYM:
        options.append("object")
    return options


def drop_detail(rng: random.Random, clause: Clause) -> tuple[Clause, str]:
    """The clause with one detail less, and which: a place, time, adjective, or hypernym for hyponym."""
    option = rng.choice(details(clause))
    if option in ("place", "time"):
        return clause._replace(**{option: None}), option
    if option == "adjective":
        return clause._replace(object=clause.object._replace(adjective="")), option
    general = concepts.HYPERNYM[clause.object.head]
    return clause._replace(object=clause.object._replace(head=general, det="some")), option


def change_detail(rng: random.Random, clause: Clause) -> Clause:
    """The clause with one detail that cannot hold together with the old one."""
    option = rng.choice(details(clause))
    if option == "place":
        return clause._replace(place=Phrase(other(rng, PLACES, clause.place.head), "", entity="LOC"))
    if option == "time":
        return clause._replace(time=Phrase(other(rng, MONTHS, clause.time.head), ""))
    if option == "adjective":
        old = clause.object.adjective
        new = OPPOSITE.get(old) or other(rng, COLOURS, old)
        return clause._replace(object=clause.object._replace(adjective=new))
    sisters = KINDS[concepts.HYPERNYM[clause.object.head]]
    return clause._replace(object=clause.object._replace(head=other(rng, sisters, clause.object.head)))


def hypothesis(world: World, rng: random.Random, split: str) -> Clause:
    """A statement drawn before its label: quantified, negated or plain, with a detail to work on."""
    while True:
        clause = world.event(rng, kind=rng.choice(("food", "tool", "animal", "gift", "state")))
        described = clause.object is not None and clause.object.adjective
        if not (clause.place or clause.time or described):
            continue  # nothing to take away
        if clause.place and clause.time and (clause.object is None or described):
            continue  # nothing to add
        if clause.object and rng.random() < 0.25:
            general = concepts.HYPERNYM[clause.object.head]
            clause = clause._replace(object=clause.object._replace(head=general, det="some"))
        if rng.random() < 0.3:
            clause = clause._replace(subject=Phrase(rng.choice(ROLES), rng.choice(("some", "every", "no"))))
        else:
            clause = clause._replace(negated=rng.random() < 0.3)
        if split_of(clause) == split:
            return clause


def premise(world: World, rng: random.Random, claim: Clause, label: int) -> Clause:
    """A statement that entails (0), leaves open (1) or contradicts (2) the claim.

    A more detailed event entails a less detailed one; under "not" and "no" it is the reverse. A
    changed place, time, attribute or object is a contradiction, as in SNLI and MultiNLI: both
    sentences tell of one event.
    """
    down, subject = downward(claim), claim.subject
    if label == 0:
        if down and rng.random() < 0.7:
            return drop_detail(rng, claim)[0]
        if subject.det == "some" and rng.random() < 0.5:
            claim = claim._replace(subject=subject._replace(det="every"))
        return claim if down else add_detail(world, rng, claim)
    if label == 1:
        if down:
            return add_detail(world, rng, claim)
        if subject.det == "every" and rng.random() < 0.5:
            return add_detail(world, rng, claim._replace(subject=subject._replace(det="some")))
        claim, dropped = drop_detail(rng, claim)
        return add_detail(world, rng, claim, taken=(dropped,)) if rng.random() < 0.5 else claim
    if down:  # what is denied happened, perhaps told in more detail
        det = rng.choice(("some", "every")) if subject.det == "no" else subject.det
        positive = claim._replace(negated=False, subject=subject._replace(det=det))
        return add_detail(world, rng, positive)
    if subject.det == "some" or rng.random() < 0.45:
        if subject.det in ("some", "every"):
            denied = claim._replace(subject=subject._replace(det="no"))
        else:
            denied = claim._replace(negated=True)
        return drop_detail(rng, denied)[0] if rng.random() < 0.5 else denied
    return change_detail(rng, claim)


def mnli(world: World, rng: random.Random, split: str, n: int) -> dict:
    """One-sentence premise and hypothesis."""
    claim = hypothesis(world, rng, split)
    first = say(world, rng, premise(world, rng, claim, n % 3))
    return {"text_a": [first], "text_b": [say(world, rng, claim)], "label": n % 3}


def anli(world: World, rng: random.Random, split: str, n: int) -> dict:
    """Harder: the premise also tells of somebody else, of whom the opposite may be true, and verbs go
    by their synonyms."""
    claim = hypothesis(world, rng, split)
    truth = premise(world, rng, claim, n % 3)
    lure = premise(world, rng, claim, rng.randrange(3))
    somebody = other(rng, NAMES if claim.subject.entity else ROLES, claim.subject.head)
    lure = lure._replace(subject=lure.subject._replace(head=somebody))
    parts = [say(world, rng, truth, 0.3), say(world, rng, lure, 0.3)]
    rng.shuffle(parts)
    return {"text_a": parts, "text_b": [say(world, rng, claim, 0.3)], "label": n % 3}


# ---- paraphrase


def people(world: World, rng: random.Random, split: str) -> Clause:
    """An event between two people whose places can be swapped."""
    while True:
        clause = world.event(rng, kind="person")._replace(time=None)
        if rng.random() < 0.4:  # described people: their descriptions can be swapped as well
            roles = rng.sample(ROLES, 2)
            quality = rng.choice(concepts.QUALITIES)
            clause = clause._replace(
                subject=Phrase(roles[0], "the", quality), object=Phrase(roles[1], "the", OPPOSITE[quality])
            )
        if split_of(clause) == split:
            return clause


def swapped(rng: random.Random, clause: Clause) -> Clause:
    """The same words, another meaning: people, or what describes them, change places."""
    a, b = clause.subject, clause.object
    if a.adjective and rng.random() < 0.5:
        return clause._replace(subject=a._replace(adjective=b.adjective), object=b._replace(adjective=a.adjective))
    return clause._replace(subject=b, object=a)


def pawsx(world: World, rng: random.Random, split: str, n: int) -> dict:
    """Two sentences of (nearly) the same words: a reordered paraphrase (1) or swapped arguments (0).

    Most keep the order and take a synonym for the verb; few are passive, where the people of a true
    paraphrase change places: with many of them, nothing could be learned before everything was.
    """
    clause, draw = people(world, rng, split), rng.random()
    first = Say(clause._replace(order=0))
    if draw < 0.1 and clause.verb not in concepts.NO_PASSIVE:
        second = Say(clause._replace(order=world.order(rng)), "passive")
    elif draw < 0.25 and clause.place:
        second = Say(clause._replace(order=world.order(rng)), "fronted")
    elif draw < 0.45:
        second = Say(clause._replace(order=rng.choice((1, 2))))
    else:
        second = Say(first.clause, synonym=True)
    if n % 2 == 0:
        second = second._replace(clause=swapped(rng, second.clause))
    return {"text_a": [first], "text_b": [second], "label": n % 2}


def ask(world: World, rng: random.Random, clause: Clause, slot: str, synonym: float) -> Say:
    """A question for one slot of a clause, in a voice in which it stays unambiguous."""
    passive = slot != "object" and clause.object and clause.verb not in concepts.NO_PASSIVE and rng.random() < 0.3
    clause = clause._replace(order=world.order(rng))
    return Say(clause, "passive" if passive else "plain", ask=slot, synonym=rng.random() < synonym)


def filled(clause: Clause) -> list[str]:
    """The slots a question can ask for."""
    return [slot for slot in concepts.SLOTS if getattr(clause, slot) is not None]


def qqp(world: World, rng: random.Random, split: str, n: int) -> dict:
    """Two questions: the same one in other words (1), or one that another answer fits (0)."""
    clause = people(world, rng, split) if rng.random() < 0.5 else world.split_event(rng, split)
    while len(filled(clause)) < 2:
        clause = world.split_event(rng, split)
    slot = rng.choice(filled(clause))
    first = ask(world, rng, clause, slot, 0.5)
    if n % 2:
        return {"text_a": [first], "text_b": [ask(world, rng, clause, slot, 0.5)], "label": 1}
    options = [part for part in filled(clause) if part != slot]
    if clause.verb in concepts.VERBS["person"] and slot in ("place", "time") and rng.random() < 0.6:
        clause = swapped(rng, clause)
    elif rng.random() < 0.5:
        slot = rng.choice(options)
    else:
        verb = other(rng, concepts.VERBS[concepts.VERB_CLASS[clause.verb]], clause.verb)
        clause = clause._replace(verb=verb)
    return {"text_a": [first], "text_b": [ask(world, rng, clause, slot, 0.5)], "label": 0}
