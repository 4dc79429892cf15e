"""Tasks of reading, choice, tagging and retrieval, as functions on clauses; see :mod:`.pairs` for the
form they share.

Wrong answers are as likely as right ones until the passage is read: the alternatives of a choice are
the same whatever its context, and an unanswerable question asks of events like those told.
"""

import random
from itertools import product

from microworld import concepts
from microworld.concepts import NAMES, NEXT, PREVIOUS, Clause, Phrase
from microworld.grammar import Say
from microworld.pairs import ask, filled, other, say
from microworld.world import World, split_of

# Disjoint: no verb, and so no course of events, of one topic is in the other.
TOPICS = {"social": ("person", "gift", "state"), "physical": ("food", "tool", "animal")}
REMOTE = ("food", "tool", "animal", "gift")  # verb classes whose object has a hypernym

# ---- reading


def passage(world: World, rng: random.Random, split: str, verbs: list[str]) -> list[Clause]:
    """An event of each verb, all by different agents; few details, to keep inputs short."""
    clauses: list[Clause] = []
    agents = rng.sample(NAMES, len(verbs))
    while len(clauses) < len(verbs):
        verb, agent = verbs[len(clauses)], agents[len(clauses)]
        clause = world.event(rng, kind=concepts.VERB_CLASS[verb], agent=agent, verb=verb)
        if clause.place and (clause.time or clause.recipient):
            clause = clause._replace(**{rng.choice(("place", "time")): None})
        if split_of(clause) == split:
            clauses.append(clause)
    return clauses


def span(
    world: World, rng: random.Random, split: str, count: int, unanswerable: bool = False, remote: bool = False
) -> dict:
    """A passage of ``count`` sentences, a question on one of them, and where its answer stands.

    ``unanswerable``: the question asks the same of an event that the passage does not tell.
    ``remote``: the question shares no content word with its sentence but at most a name: the verb
    goes by its synonym, things by their hypernym, other details are left out.
    """
    while True:
        if remote:  # only the verb tells the sentences apart
            verbs = rng.sample([verb for kind in REMOTE for verb in concepts.VERBS[kind]], count)
        elif rng.random() < 0.5:  # events alike enough to be confused
            verbs = rng.choices(concepts.VERBS[rng.choice(tuple(concepts.VERBS))], k=count)
        else:
            verbs = rng.sample(tuple(concepts.VERB_CLASS), count)
        clauses = passage(world, rng, split, verbs)
        index = rng.randrange(count)
        clause = clauses[index]
        slots = [slot for slot in filled(clause) if slot != "subject" or remote or clause.object]
        if not slots:
            continue
        slot = rng.choice(slots)
        question = clause
        if remote:
            general = Phrase(concepts.HYPERNYM[clause.object.head], "some")
            somebody = clause.subject if slot == "subject" else Phrase("person", "some")
            recipient = Phrase("person", "some") if clause.recipient else None
            question = clause._replace(
                subject=somebody, object=clause.object if slot == "object" else general,
                recipient=clause.recipient if slot == "recipient" else recipient,
                place=clause.place if slot == "place" else None, time=clause.time if slot == "time" else None,
            )  # fmt: skip
            break
        for detail in ("place", "time"):
            if detail != slot and rng.random() < 0.5 and not (slot == "subject" and not clause.object):
                question = question._replace(**{detail: None})
        if unanswerable:
            question = untold(rng, question, slot, clauses)
            break
        if sum(matches(question, candidate, slot) for candidate in clauses) == 1:
            break
    variants = [say(world, rng, clause) for clause in clauses]
    interrogative = ask(world, rng, question, slot, 1.0 if remote else 0.0)
    return {"context": variants, "question": [interrogative], "told": None if unanswerable else (index, slot)}


def matches(question: Clause, clause: Clause, slot: str) -> bool:
    """Whether a clause answers a question: all that the question names is so."""
    if clause.verb != question.verb or getattr(clause, slot) is None:
        return False
    for part in concepts.SLOTS:
        wanted, actual = getattr(question, part), getattr(clause, part)
        if part != slot and wanted and (actual is None or wanted.head != actual.head):
            return False
    return True


def untold(rng: random.Random, question: Clause, slot: str, clauses: list[Clause]) -> Clause:
    """The question with its verb or its agent changed until nothing in the passage answers it."""
    while True:
        changed = question
        if slot == "subject" or rng.random() < 0.5:
            changed = changed._replace(verb=rng.choice(concepts.VERBS[concepts.VERB_CLASS[question.verb]]))
        else:
            agents = [clause.subject.head for clause in clauses]
            name = other(rng, agents, question.subject.head) if rng.random() < 0.7 else other(rng, NAMES, *agents)
            changed = changed._replace(subject=Phrase(name, "", entity="PER"))
        if not any(matches(changed, clause, slot) for clause in clauses):
            return changed


def squad1(world: World, rng: random.Random, split: str, n: int) -> dict:
    """Three sentences; the question repeats words of the one that answers it."""
    return span(world, rng, split, 3)


def squad2(world: World, rng: random.Random, split: str, n: int) -> dict:
    """As squad1; one question in three has no answer."""
    return span(world, rng, split, 3, unanswerable=n % 3 == 2)


def mlqa(world: World, rng: random.Random, split: str, n: int) -> dict:
    """Longer passages: four or five sentences."""
    return span(world, rng, split, 4 + n % 2)


def tydiqa(world: World, rng: random.Random, split: str, n: int) -> dict:
    """The question was written without the passage at hand: no overlap in content words."""
    return span(world, rng, split, 3, remote=True)


# ---- choice


def continuation(world: World, rng: random.Random, clause: Clause, verb: str) -> Say:
    """What the agent of a clause does (or did) to the same thing."""
    return Say(clause._replace(verb=verb, place=None, time=None, order=world.order(rng)))


def two_stories(world: World, rng: random.Random, split: str, kinds: list[str]) -> list[Clause]:
    """An event of each class, with two different agents; no time, to keep inputs short."""
    clauses: list[Clause] = []
    agents = rng.sample(NAMES, 2)
    while len(clauses) < 2:
        clause = world.event(rng, kind=kinds[len(clauses)], agent=agents[len(clauses)])._replace(time=None)
        if split_of(clause) == split:
            clauses.append(clause)
    return clauses


def hellaswag(world: World, rng: random.Random, split: str, n: int) -> dict:
    """Two people's doings; which of four sentences goes on with the last one's?"""
    first, last = two_stories(world, rng, split, [rng.choice(tuple(concepts.VERBS))] * 2)
    verbs = rng.sample(concepts.VERBS[concepts.VERB_CLASS[last.verb]], 4)
    choices = [[continuation(world, rng, last, verb)] for verb in verbs]
    context = [say(world, rng, first), say(world, rng, last)]
    return {"context": context, "question": [], "choices": choices, "label": verbs.index(NEXT[last.verb])}


def cosmosqa(world: World, rng: random.Random, split: str, n: int) -> dict:
    """A passage on two people, a question on the cause or the effect of what one of them did. The
    alternatives: cause and effect of either event, all told of the person asked about."""
    clauses = two_stories(world, rng, split, rng.sample(tuple(concepts.VERBS), 2))
    about, relation = rng.choice(clauses), ("cause", "effect")[n % 2]
    options = []
    for clause in clauses:
        for known, table in (("cause", PREVIOUS), ("effect", NEXT)):
            retold = clause._replace(subject=about.subject, tense=about.tense)
            option = continuation(world, rng, retold, table[clause.verb])
            options.append((option, clause is about and known == relation))
    rng.shuffle(options)
    return {
        "context": [say(world, rng, clause) for clause in clauses],
        "question": [relation, about.subject, "?"],
        "choices": [[option] for option, _ in options],
        "label": [right for _, right in options].index(True),
    }


def copa(world: World, rng: random.Random, split: str, n: int, kinds: tuple[str, ...] = ()) -> dict:
    """A premise, "cause" or "effect", two alternatives. The wrong one is, in equal parts, something else
    that the same person does, a less likely doing with the same thing, or the same chain of events read
    backwards: an effect for a cause. ``kinds``: the verb classes that it tells of, () = all."""
    clause = world.split_event(rng, split, kind=rng.choice(kinds) if kinds else "")
    relation = ("cause", "effect")[n // 2 % 2]
    table, backwards = (PREVIOUS, NEXT) if relation == "cause" else (NEXT, PREVIOUS)
    right = continuation(world, rng, clause, table[clause.verb])
    if n // 4 % 3 == 0:
        kind = other(rng, kinds or tuple(concepts.VERBS), concepts.VERB_CLASS[clause.verb])
        elsewhere = world.event(rng, kind=kind, agent=clause.subject.head)
        wrong = continuation(world, rng, elsewhere._replace(tense=clause.tense), elsewhere.verb)
    else:
        unlikely = NEXT[NEXT[clause.verb]] if n // 4 % 3 == 1 else backwards[clause.verb]
        wrong = continuation(world, rng, clause, unlikely)
    return {
        "context": [say(world, rng, clause)],
        "question": [relation, "?"],
        "choices": [[right], [wrong]] if n % 2 == 0 else [[wrong], [right]],
        "label": n % 2,
    }


def socialiqa(world: World, rng: random.Random, split: str, n: int) -> dict:
    """As copa, of what people do among themselves: two sets alike in all but what they are about."""
    return copa(world, rng, split, n, TOPICS["social"])


def piqa(world: World, rng: random.Random, split: str, n: int) -> dict:
    """As copa, of what is done with things and animals."""
    return copa(world, rng, split, n, TOPICS["physical"])


def topic_of(choice: dict) -> str:
    """The topic of all that a choice tells, alternatives included; "" where it tells of both."""
    clauses = (part.clause for parts in (choice["context"], *choice["choices"]) for part in parts)
    classes = {concepts.VERB_CLASS[clause.verb] for clause in clauses}
    return next((topic for topic, kinds in TOPICS.items() if classes.issubset(kinds)), "")


def csqa(world: World, rng: random.Random, split: str, n: int) -> dict:
    """A question on a fact of the world, five answers of one kind; the facts of each split differ."""
    clause, slot, options = rng.choice(world.facts_of[split])
    phrase = getattr(clause, slot)
    right = phrase.head or phrase.adjective
    answers = [right, *rng.sample([word for word in options if word != right], 4)]
    rng.shuffle(answers)
    field = "head" if phrase.head else "adjective"
    question = Say(clause._replace(order=world.order(rng)), ask=slot)
    choices = [[phrase._replace(**{field: word})] for word in answers]
    return {"context": [], "question": [question], "choices": choices, "label": answers.index(right)}


# ---- tagging and retrieval


def rich(world: World, rng: random.Random, split: str) -> Clause:
    """An event with quantifiers, names of people and organisations, negation."""
    while True:
        clause = world.decorate(rng, world.event(rng))
        if split_of(clause) == split:
            return clause


def udpos(world: World, rng: random.Random, split: str, n: int) -> dict:
    """One clause, or two joined by a conjunction; nouns and verbs of one form occur."""
    first = say(world, rng, rich(world, rng, split))
    if rng.random() < 0.5:
        return {"tokens": [first]}
    second = say(world, rng, rich(world, rng, split)._replace(place=None, time=None), 0.3)
    return {"tokens": [first, rng.choice(("and", "because")), second]}


def panx(world: World, rng: random.Random, split: str, n: int) -> dict:
    """People, places, organisations: a family name can be any of them, a place name can open the name
    of an organisation, so that context decides."""
    while True:
        clause, draw = world.event(rng), rng.random()
        if draw < 0.5:
            clause = world.organised(rng, clause)
        if draw > 0.3 and clause.subject.entity == "PER":
            clause = clause._replace(subject=world.named_person(rng, clause.subject.head))
        if rng.random() < 0.3:
            clause = clause._replace(place=Phrase(rng.choice(concepts.FAMILIES), "", entity="LOC"))
        if split_of(clause) == split:
            return {"tokens": [say(world, rng, clause)]}


def ccg(world: World, rng: random.Random, split: str, n: int) -> dict:
    """A clause for supertagging."""
    return {"tokens": [say(world, rng, rich(world, rng, split))]}


def exchanged(clause: Clause) -> Clause:
    """The clause with its agent in the place of its other person, recipient or object, and the reverse."""
    partner = "recipient" if clause.recipient else "object"
    return clause._replace(**{"subject": getattr(clause, partner), partner: clause.subject})


def sentence(world: World, rng: random.Random, split: str) -> Say:
    """A sentence on two people, to be found again in another language; of the split whoever of them is the agent."""
    while True:
        clause = world.split_event(rng, split, kind=rng.choice(("person", "gift")))
        if split_of(exchanged(clause)) == split:
            return say(world, rng, clause, 0.2)


def same_words(sentence: Say) -> list[Say]:
    """A sentence and its near misses: who does it to whom, whether and when, in the same content words."""
    clause = sentence.clause
    return [
        sentence._replace(clause=roles._replace(negated=negated, tense=tense))
        for negated, tense, roles in product((False, True), ("past", "present"), (clause, exchanged(clause)))
    ]
