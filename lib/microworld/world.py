"""The micro-world: its habits, its events, and the text that is written about them.

Habits (who lives where, which dish who likes, what is done after what) are the same in every
language: they are what an encoder can align languages by. Tasks mostly draw events without them, so
that a question cannot be answered from habit alone.
"""

import random
import zlib
from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from microworld import concepts
from microworld.concepts import COLOURS, MONTHS, NAMES, PLACES, ROLES, TOOLS, Clause, Phrase
from microworld.grammar import LANGUAGES, Say, Token, Voice, lexicons, render
from microworld.settings import MicroSettings

CLASSES = tuple(concepts.VERBS)
SPLITS = ("train",) * 6 + ("dev",) * 2 + ("test",) * 2
_ZIPF = list(accumulate(1 / (rank + 2) for rank in range(len(NAMES))))
MIXED_SHARE, MIXED_VOICES = 0.3, 12  # words in source form in a code-mixed document; word choices per language


def split_of(clause: Clause) -> str:
    """The split whose examples may be built on this clause: decided by its content alone, so that
    no event of a training set is ever tested."""
    words = (part.head for part in (clause.subject, *clause[2:6]) if part)
    return SPLITS[zlib.crc32(f"{clause.verb} {' '.join(words)}".encode()) % len(SPLITS)]


class World:
    """Habits, voices and events of a :class:`MicroSettings`."""

    def __init__(self, settings: MicroSettings):
        self.settings = settings
        rng = random.Random(f"habits {settings.world_seed}")

        def habit(keys: Sequence[str], values: Sequence[str]) -> dict[str, str]:
            """Each key one value; values as evenly used as possible."""
            pool = [values[i % len(values)] for i in range(len(keys))]
            rng.shuffle(pool)
            return dict(zip(keys, pool, strict=True))

        things = concepts.FOODS + TOOLS + concepts.ANIMALS
        self.job = habit(NAMES, ROLES)
        self.gadget = habit(ROLES, TOOLS)  # what a role uses
        self.habitat = habit(concepts.ANIMALS, PLACES)
        self.prey = habit(concepts.ANIMALS, concepts.FOODS)  # what an animal eats
        self.colour = habit(things, COLOURS)
        self.home = habit(NAMES + ROLES, PLACES)
        self.month = habit(NAMES + ROLES, MONTHS)
        self.interest = habit(NAMES + ROLES, CLASSES)
        self.friend = habit(NAMES + ROLES, NAMES[1:] + NAMES[:1])
        self.likes = {kind: habit(NAMES + ROLES, concepts.KINDS[kind]) for kind in ("food", "tool", "animal")}
        self.facts = self._facts()
        self.facts_of = {split: [f for f in self.facts if split_of(f[0]) == split] for split in set(SPLITS)}
        self.words = lexicons(settings.languages, settings.world_seed)
        self.voices = {code: Voice(LANGUAGES[code], self.words[code]) for code in settings.languages}

    # ---- events

    def order(self, rng: random.Random) -> int:
        """0 (the language's own order), or 1 or 2 with the declared share of order freedom."""
        return 0 if rng.random() >= self.settings.order_freedom else rng.choice((1, 2))

    def agent(self, rng: random.Random) -> str:
        """A person's name, Zipf-distributed."""
        return NAMES[bisect(_ZIPF, rng.random() * _ZIPF[-1])]

    def thing(self, rng: random.Random, kind: str, agent: str, sharp: float) -> Phrase:
        """What an event of a verb class happens to."""
        if kind == "person":
            friend = self.friend[agent] if rng.random() < sharp else rng.choice(NAMES)
            if friend == agent:
                friend = NAMES[NAMES.index(agent) - 1]
            return Phrase(friend, "", entity="PER")
        if kind == "gift":
            kind = rng.choice(("food", "tool", "animal"))
        head = self.likes[kind][agent] if rng.random() < sharp else rng.choice(concepts.KINDS[kind])
        return Phrase(head)

    def event(self, rng: random.Random, sharp: float = 0.0, kind: str = "", agent: str = "", verb: str = "") -> Clause:
        """A random event; ``sharp``: probability that each part follows habit. Names carry no
        determiner; place, time and adjectives are each there about half of the time."""
        agent = agent or (self.agent(rng) if sharp else rng.choice(NAMES))
        if not kind:
            kind = self.interest[agent] if rng.random() < sharp else rng.choice(CLASSES)
        obj = None if kind == "state" else self.thing(rng, kind, agent, sharp)
        recipient = self.thing(rng, "person", agent, sharp) if kind == "gift" else None
        if obj and not obj.entity and rng.random() < 0.3:
            colour = self.colour[obj.head] if rng.random() < sharp else rng.choice(COLOURS)
            obj = obj._replace(adjective=colour if rng.random() < 0.7 else rng.choice(concepts.QUALITIES))
        place = time = None
        if rng.random() < 0.5:
            home = self.home[agent] if rng.random() < sharp else rng.choice(PLACES)
            place = Phrase(home, "", entity="LOC")
        if rng.random() < 0.3:
            time = Phrase(self.month[agent] if rng.random() < sharp else rng.choice(MONTHS), "")
        subject = Phrase(agent, "", entity="PER") if agent in concepts.NAMES_SET else Phrase(agent)
        return Clause(
            subject, verb or rng.choice(concepts.VERBS[kind]), obj, recipient, place, time,
            False, "past" if rng.random() < 0.7 else "present", self.order(rng),
        )  # fmt: skip

    def split_event(self, rng: random.Random, split: str, **kwargs: Any) -> Clause:
        """An event that may appear in a split."""
        while True:
            clause = self.event(rng, **kwargs)
            if split_of(clause) == split:
                return clause

    def variant(self, rng: random.Random, clause: Clause) -> str:
        """A voicing the clause allows: mostly plain."""
        if rng.random() < 0.6:
            return "plain"
        if clause.object and clause.verb not in concepts.NO_PASSIVE and rng.random() < 0.5:
            return "passive"
        return "fronted" if clause.place or clause.time else "plain"

    # ---- facts

    def _facts(self) -> list[tuple[Clause, str, tuple[str, ...]]]:
        """What is always so: (clause, the slot that holds the fact, what could stand there)."""
        out = []
        for animal in concepts.ANIMALS:
            place = Phrase(self.habitat[animal], "", entity="LOC")
            out.append((Clause(Phrase(animal), "live", place=place, tense="present"), "place", PLACES))
            food = Phrase(self.prey[animal])
            out.append((Clause(Phrase(animal), "eat", food, tense="present"), "object", concepts.FOODS))
        for role in ROLES:
            tool = Phrase(self.gadget[role])
            out.append((Clause(Phrase(role), "use", tool, tense="present"), "object", TOOLS))
        for thing, colour in self.colour.items():
            predicate = Phrase("", "", colour)
            out.append((Clause(Phrase(thing), "be", predicate, tense="present"), "object", COLOURS))
        for name in NAMES:
            person = Phrase(name, "", entity="PER")
            job, home = Phrase(self.job[name], "some"), Phrase(self.home[name], "", entity="LOC")
            friend = Phrase(self.friend[name], "", entity="PER")
            out.append((Clause(person, "be", job, tense="present"), "object", ROLES))
            out.append((Clause(person, "live", place=home, tense="present"), "place", PLACES))
            if friend.head != name:
                out.append((Clause(person, "help", friend, tense="present"), "object", NAMES))
            for kind in ("food", "tool", "animal"):
                liked = Phrase(self.likes[kind][name])
                verb = concepts.VERBS[kind][-1]
                out.append((Clause(person, verb, liked, tense="present"), "object", concepts.KINDS[kind]))
        return out

    # ---- text

    def document(self, rng: random.Random) -> list[Say | str]:
        """One document of the pretraining text: a story, a passage with a question and its answer,
        a cause or effect, a restatement, or facts."""
        sharp, draw = self.settings.sharpness, rng.random()
        if draw < 0.1:
            return [Say(rng.choice(self.facts)[0]._replace(order=self.order(rng))) for _ in range(rng.choice((2, 3)))]
        clause = self.decorate(rng, self.event(rng, sharp))
        first = Say(clause, self.variant(rng, clause), synonym=rng.random() < 0.3)
        if draw < 0.3:
            return [first, self.restate(rng, first)]
        after = clause._replace(
            verb=concepts.NEXT.get(clause.verb, clause.verb), order=self.order(rng), place=None, time=None
        )
        if draw < 0.42:
            forward = rng.random() < 0.5
            pair = (Say(clause), Say(after)) if forward else (Say(after), Say(clause))
            return [pair[0], "effect" if forward else "cause", "?", pair[1]]
        if draw < 0.7:
            return self.examined(rng, first)
        story: list[Say | str] = [first, Say(self.follow(rng, after), synonym=rng.random() < 0.3)]
        if rng.random() < 0.5:
            last = after._replace(verb=concepts.NEXT.get(after.verb, after.verb), order=self.order(rng))
            story.append(Say(self.follow(rng, last)))
        if rng.random() < 0.3:
            story.insert(0, Say(rng.choice(self.facts)[0]))
        return story

    def examined(self, rng: random.Random, first: Say) -> list[Say | str]:
        """A sentence among others on other people, a question that it answers, and the answer."""
        clause = first.clause
        story, kind = [first], concepts.VERB_CLASS.get(clause.verb, "") if rng.random() < 0.5 else ""
        for _ in range(rng.choice((1, 2, 2, 3))):
            rival = self.event(rng, self.settings.sharpness, kind)
            if rival.subject.head != clause.subject.head:
                story.append(Say(rival, self.variant(rng, rival), synonym=rng.random() < 0.3))
        rng.shuffle(story)
        slots = [slot for slot in concepts.SLOTS if getattr(clause, slot) and getattr(clause, slot).head]
        slot = rng.choice(slots)
        question = Say(clause._replace(order=self.order(rng)), ask=slot, synonym=rng.random() < 0.3)
        return [*story, question, getattr(clause, slot)]

    def follow(self, rng: random.Random, clause: Clause) -> Clause:
        """A later clause of a story: at times with a pronoun for its subject."""
        return clause._replace(subject=Phrase("she", "")) if rng.random() < 0.3 else clause

    def decorate(self, rng: random.Random, clause: Clause) -> Clause:
        """Now and then: a quantified, described or fully named subject, an organisation, a negation."""
        draw = rng.random()
        name = clause.subject.head
        if draw < 0.15:
            det = rng.choice(("some", "every", "no", "the", str(rng.randint(2, 9))))
            adjective = rng.choice(concepts.QUALITIES) if rng.random() < 0.3 else ""
            return clause._replace(subject=Phrase(self.job[name], det, adjective))
        if draw < 0.3:
            return clause._replace(subject=self.named_person(rng, name))
        if draw < 0.42:
            return self.organised(rng, clause)
        if draw < 0.47 and clause.object and not clause.object.entity:
            return clause._replace(object=Phrase(clause.object.head, str(rng.randint(2, 9))))
        return clause._replace(negated=draw < 0.62)

    def named_person(self, rng: random.Random, name: str) -> Phrase:
        """A given name with a family name, or a family name alone."""
        family = rng.choice(concepts.FAMILIES)
        return Phrase(name, "", "", family, "PER") if rng.random() < 0.6 else Phrase(family, "", entity="PER")

    def organisation(self, rng: random.Random) -> Phrase:
        """ "Family bank", "place bank", or a family name that means the firm."""
        namesake = rng.choice(concepts.FAMILIES) if rng.random() < 0.6 else rng.choice(PLACES)
        if namesake in concepts.FAMILIES and rng.random() < 0.4:
            return Phrase(namesake, "", entity="ORG")
        return Phrase(rng.choice(concepts.ORGANISATIONS), "", "", namesake, "ORG")

    def organised(self, rng: random.Random, clause: Clause) -> Clause:
        """The clause's agent hired by, or joining, an organisation; families may be places too."""
        place = clause.place
        if rng.random() < 0.3:
            place = Phrase(rng.choice(concepts.FAMILIES), "", entity="LOC")
        changed = clause._replace(recipient=None, place=place)
        if rng.random() < 0.5:
            return changed._replace(subject=self.organisation(rng), verb="hire", object=clause.subject)
        return changed._replace(verb="join", object=self.organisation(rng))

    def restate(self, rng: random.Random, first: Say) -> Say:
        """The same clause in other words, or what follows from it by a hypernym."""
        clause = first.clause
        if clause.object and clause.object.head in concepts.HYPERNYM and rng.random() < 0.4:
            general = Phrase(concepts.HYPERNYM[clause.object.head], "some")
            return Say(clause._replace(object=general, place=None, time=None, order=self.order(rng)))
        clause = clause._replace(order=self.order(rng))
        return Say(clause, self.variant(rng, clause), synonym=rng.random() < 0.5)

    def voice_parts(self, voice: Voice, parts: list) -> list[Token]:
        """Tokens of a list of clauses, bare phrases (answers), words and punctuation."""
        out: list[Token] = []
        for part in parts:
            if isinstance(part, Say):
                out += voice.realize(part)
            elif isinstance(part, Phrase):
                out += voice.phrase(part, "nom", "answer")
            elif part in voice.words:
                upos = {"and": "CCONJ", "because": "SCONJ"}.get(part, "NOUN")
                out.append(Token(voice.words[part], upos, "link", ""))
            else:
                out.append(Token(part, "PUNCT", "end", ""))
        return out

    def mixed_voices(self, code: str) -> list[Voice]:
        """Voices of a language that each take another part of the content words from the source."""
        rng = random.Random(f"mix {self.settings.world_seed} {code}")
        source, own = self.words[self.settings.languages[0]], self.words[code]
        voices = []
        for _ in range(MIXED_VOICES):
            taken = rng.sample(concepts.CONTENT, round(MIXED_SHARE * len(concepts.CONTENT)))
            voices.append(Voice(LANGUAGES[code], own | {concept: source[concept] for concept in taken}))
        return voices

    def text(self, seed: int) -> dict[str, list[str]]:
        """Columns id, text, language of the pretraining text. Documents are drawn independently for
        each language: nothing is parallel."""
        settings = self.settings
        rng = random.Random(f"text {settings.world_seed} {seed}")
        codes = settings.languages
        weights = [settings.source_share] + [1.0] * (len(codes) - 1)
        mixed = {code: self.mixed_voices(code) for code in codes[1:]} if settings.code_mixing else {}
        texts, languages = [], rng.choices(codes, weights, k=settings.documents)
        for code in languages:
            voice = self.voices[code]
            if code in mixed and rng.random() < settings.code_mixing:
                voice = rng.choice(mixed[code])
            texts.append(render(self.voice_parts(voice, self.document(rng)))[0])
        return {"id": [f"d{i}" for i in range(len(texts))], "text": texts, "language": languages}
