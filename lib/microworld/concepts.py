"""The concepts of the micro-world, what a clause is, and the fixed relations between concepts.

Concept ids are English glosses to keep examples readable; nothing shows them to a model.
"""

from typing import NamedTuple


class Phrase(NamedTuple):
    """A noun phrase. ``det``: "", "the", "some", "every", "no" or digits; ``other``: family name of a
    person or place name of an organisation; ``entity``: PER, ORG, LOC or "" (not a name)."""

    head: str
    det: str = "the"
    adjective: str = ""
    other: str = ""
    entity: str = ""


class Clause(NamedTuple):
    """One event or state. ``order``: 0 the language's own word order, 1 and 2 the other two."""

    subject: Phrase
    verb: str
    object: Phrase | None = None
    recipient: Phrase | None = None
    place: Phrase | None = None
    time: Phrase | None = None
    negated: bool = False
    tense: str = "past"
    order: int = 0


NAMES = tuple(f"name{i}" for i in range(24))
FAMILIES = tuple(f"family{i}" for i in range(8))
PLACES = tuple(f"place{i}" for i in range(12))
ORGANISATIONS = ("bank", "school", "club", "market")
ROLES = ("farmer", "doctor", "teacher", "chef", "guard", "singer", "painter", "sailor")
ANIMALS = ("horse", "dog", "cat", "wolf", "bear", "hen", "goat", "fox")
FOODS = ("bread", "apple", "lemon", "fish", "soup", "cheese", "rice", "egg")
TOOLS = ("hammer", "knife", "net", "wrench", "rope", "lamp", "spade", "drum")
COLOURS = ("red", "green", "blue", "white", "black", "yellow")
ANTONYMS = (("big", "small"), ("old", "new"), ("heavy", "light"), ("clean", "dirty"), ("warm", "cold"))
QUALITIES = tuple(word for pair in ANTONYMS for word in pair)
MONTHS = tuple(f"month{i}" for i in range(6))
KINDS = {"person": ROLES, "animal": ANIMALS, "food": FOODS, "tool": TOOLS}  # hypernym -> hyponyms
HYPERNYM = {word: kind for kind, words in KINDS.items() for word in words}
# Each row is a cycle of likely continuations: what is bought is cooked, then tasted, eaten, bought again.
VERBS = {
    "food": ("buy", "cook", "taste", "eat"),
    "tool": ("find", "break", "repair", "use"),
    "animal": ("chase", "catch", "feed", "ride"),
    "person": ("meet", "help", "thank", "follow"),
    "gift": ("show", "lend", "send", "give"),
    "state": ("work", "dance", "rest", "sleep"),
}
VERB_CLASS = {verb: name for name, verbs in VERBS.items() for verb in verbs}
NEXT = {verb: verbs[(i + 1) % 4] for verbs in VERBS.values() for i, verb in enumerate(verbs)}
PREVIOUS = {after: before for before, after in NEXT.items()}
OTHER_VERBS = ("be", "live", "hire", "join")
CONVERSIONS = {  # one form, verb and noun
    "cook": "chef", "catch": "net", "repair": "wrench", "ride": "horse",
    "eat": "bread", "break": "hammer", "chase": "dog", "use": "knife",
}  # fmt: skip
FUNCTION = (
    "the", "some", "every", "no", "to", "in", "at", "by", "not", "who", "whom", "what", "where", "when",
    "she", "and", "because", "cause", "effect",
)  # fmt: skip
SUFFIXES = ("-past", "-passive", "-plural", "-acc", "-dat", "-loc")

VERB_SET = frozenset(VERB_CLASS)
NAMES_SET = frozenset(NAMES)
HUMAN = frozenset(NAMES + FAMILIES + ROLES + ("person", "she"))
PROPER = NAMES + FAMILIES + PLACES
PROPER_SET = frozenset(PROPER)
# "=eat" is the synonym of "eat"
COMMON = (
    ORGANISATIONS + ROLES + ANIMALS + FOODS + TOOLS + COLOURS + QUALITIES + MONTHS + tuple(KINDS)
    + tuple(VERB_CLASS) + tuple("=" + verb for verb in VERB_CLASS) + OTHER_VERBS + FUNCTION
)  # fmt: skip
CONTENT = COMMON[: -len(FUNCTION)]
NO_PASSIVE = frozenset(("be", "live", "join") + VERBS["state"])
UPOS_OF = {word: "PROPN" for word in PROPER + MONTHS} | {"she": "PRON"}
SLOTS = ("subject", "object", "recipient", "place", "time")
