"""Examples of every task of the micro-world, voiced in every language from the same meanings."""

import random
from collections.abc import Callable
from typing import Any

from microworld import pairs, rankings
from microworld import tasks as meanings
from microworld.concepts import Clause
from microworld.grammar import LANGUAGES, Say, Token, Voice, render
from microworld.settings import MicroSettings
from microworld.world import World

# task name here -> (the function that makes an example, splits). A target that another task trains
# has no training split of its own.
_ALL, _TRAIN, _TEST = ("train", "dev", "test"), ("train", "dev"), ("dev", "test")
EXAMPLES: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "anli": (pairs.anli, _TRAIN),
    "mnli": (pairs.mnli, _TRAIN),
    "qqp": (pairs.qqp, _TRAIN),
    "squad1": (meanings.squad1, _TRAIN),
    "squad2": (meanings.squad2, _TRAIN),
    "hellaswag": (meanings.hellaswag, _TRAIN),
    "ccg": (meanings.ccg, _TRAIN),
    "cosmosqa": (meanings.cosmosqa, _TRAIN),
    "csqa": (meanings.csqa, _TRAIN),
    "copa": (meanings.copa, _TRAIN),
    "socialiqa": (meanings.socialiqa, _TRAIN),
    "piqa": (meanings.piqa, _TRAIN),
    "xnli": (pairs.mnli, _TEST),
    "pawsx": (pairs.pawsx, _ALL),
    "udpos": (meanings.udpos, _ALL),
    "panx": (meanings.panx, _ALL),
    "xquad": (meanings.squad1, _TEST),
    "mlqa": (meanings.mlqa, _TEST),
    "tydiqa": (meanings.tydiqa, _ALL),
    "xcopa": (meanings.copa, _TEST),
    "bucc": (meanings.sentence, _TEST),
    "tatoeba": (meanings.sentence, _TEST),
}
RETRIEVAL = ("bucc", "tatoeba")
BUCC_PAIRED = 0.5  # share of the sentences of each side that have a translation on the other


class Examples:
    """Rows of every task in every language, in the columns of the task's kind; deterministic from the settings. Test
    sets of all languages are parallel, row by row, with equal ids. ValueError for settings that make no world."""

    def __init__(self, settings: MicroSettings):
        for code in settings.languages:
            if code not in LANGUAGES:
                raise ValueError(f'micro.languages: unknown language "{code}"; known: {", ".join(LANGUAGES)}')
        if settings.languages[:1] != ("qaa",) or len(set(settings.languages)) != len(settings.languages):
            raise ValueError(f'micro.languages: expected "qaa", then others, each once; found {settings.languages}')
        self.settings, self.world = settings, World(settings)
        self.source_language = settings.languages[0]
        self._plans: dict[tuple[str, str], list] = {}  # the same for all languages

    def languages(self, name: str, split: str) -> list[str]:
        """Codes that have the split of a task, source language first; retrieval has no source-language set."""
        splits = rankings.SPLITS.get(name) or EXAMPLES.get(name, ((), ()))[1]
        if split not in splits:
            return []
        others = sorted(self.settings.languages[1:])
        return others if name in RETRIEVAL else [self.source_language, *others]

    def settings_size(self, kind: str, split: str) -> int:
        """As the settings give it: of a pool, that of the queries."""
        return getattr(getattr(self.settings, kind), "test" if split == "pool" else split)

    def size(self, name: str, kind: str, split: str, language: str) -> int:
        """Rows of a set; a mining set has as many on either side."""
        size = self.settings_size(kind, split)
        if kind == "ranking":
            return rankings.size(name, split, language, size, self.settings.languages)
        return size * (2 if kind == "mining" else 1)

    def check(self, name: str, kind: str, split: str) -> None:
        """ValueError for a ranking that is larger than the world."""
        if kind == "ranking":
            rankings.check(name, split, self.settings_size(kind, split))

    def topics(self, name: str, kind: str, split: str) -> dict[str, str]:
        """Of a choice set: id -> "social" or "physical", "" where an example tells of both. Beside the data, not in
        it: no model sees it. {} for a set of another kind."""
        if kind != "choice":
            return {}
        return {key: meanings.topic_of(plan) for key, plan in self.plans(name, kind, split)}

    def rows(self, name: str, kind: str, split: str, language: str) -> list[dict[str, Any]]:
        """The examples of a task in one language."""
        if kind == "ranking":
            return rankings.rows(self.world, name, split, language, self.settings_size(kind, split))
        voice, home = self.world.voices[language], self.world.voices[self.source_language]
        plans = self.plans(name, kind, split)
        if kind == "parallel":
            return [{"id": key, "query": self._text(home, plan), "candidate": self._text(voice, plan)}
                    for key, plan in plans]  # fmt: skip
        if kind == "mining":
            return self._mining(plans, voice, home)
        build = getattr(self, f"_{kind}")
        return [{"id": key, **build(plan, voice, name)} for key, plan in plans]

    def plans(self, name: str, kind: str, split: str) -> list[tuple[str, Any]]:
        """(id, meaning) of every example of a split, the same for all languages."""
        if (name, split) not in self._plans:
            self._plans[name, split] = self._make_plans(name, kind, split)
        return self._plans[name, split]

    def _make_plans(self, name: str, kind: str, split: str) -> list[tuple[str, Any]]:
        make = EXAMPLES[name][0]
        size = getattr(getattr(self.settings, kind), split)
        rng = random.Random(f"{name} {split} {self.settings.world_seed}")
        if name not in RETRIEVAL:
            # shuffled, or neighbours would differ by their balanced labels
            numbers = list(range(size))
            rng.shuffle(numbers)
            plans = [make(self.world, rng, split, n) for n in numbers]
        else:  # with the near misses of each; a meaning twice would have two right answers
            if kind == "mining":  # the union of both sides
                size += size - round(size * BUCC_PAIRED)
            meant: dict[Clause, list[Say]] = {}
            while len(meant) < size:
                for sentence in meanings.same_words(make(self.world, rng, split)):
                    meant.setdefault(sentence.clause._replace(order=0), [sentence])
            plans = list(meant.values())[:size]
            rng.shuffle(plans)
        return [(f"{name}-{split}-{i}", plan) for i, plan in enumerate(plans)]

    def _text(self, voice: Voice, parts: list) -> str:
        return render(self.world.voice_parts(voice, parts))[0]

    def _classification(self, plan: dict, voice: Voice, name: str) -> dict:
        return {"text_a": self._text(voice, plan["text_a"]), "text_b": self._text(voice, plan["text_b"]),
                "label": plan["label"]}  # fmt: skip

    def _choice(self, plan: dict, voice: Voice, name: str) -> dict:
        return {
            "context": self._text(voice, plan["context"]),
            "question": self._text(voice, plan["question"]),
            "choices": [self._text(voice, choice) for choice in plan["choices"]],
            "label": plan["label"],
        }

    def _tagging(self, plan: dict, voice: Voice, name: str) -> dict:
        tokens = self.world.voice_parts(voice, plan["tokens"])
        if name == "udpos":
            tags = [token.upos for token in tokens]
        elif name == "panx":
            tags = [token.entity for token in tokens]
        else:
            tags = supertags(tokens)
        return {"tokens": [token.text for token in tokens], "tags": tags}

    def _span(self, plan: dict, voice: Voice, name: str) -> dict:
        sentences = [voice.realize(part) for part in plan["context"]]
        context, starts = render([token for sentence in sentences for token in sentence])
        question = self._text(voice, plan["question"])
        answers: dict[str, list] = {"text": [], "answer_start": []}
        if plan["told"] is not None:
            index, slot = plan["told"]
            first = sum(map(len, sentences[:index]))
            positions = [i for i, token in enumerate(sentences[index]) if token.slot == slot]
            begin = starts[first + positions[0]]
            last = sentences[index][positions[-1]].text
            end = starts[first + positions[-1]] + len(last)
            # A case suffix is no part of what was asked for, but quoting it is no mistake either.
            cases = [voice.words[case] for case in ("-acc", "-dat", "-loc")] if voice.language.case else []
            suffix = next((word for word in cases if last.endswith(word)), "")
            for stop in dict.fromkeys((end - len(suffix), end)):
                answers["text"].append(context[begin:stop])
                answers["answer_start"].append(begin)
        return {"context": context, "question": question, "answers": answers, "is_impossible": plan["told"] is None}

    def _mining(self, plans: list, voice: Voice, home: Voice) -> list[dict]:
        """Both sides of a comparable corpus: the pairs first, then each side's own sentences, each side
        shuffled."""
        size = round(len(plans) / (2 - BUCC_PAIRED))  # of each side
        pairs = round(size * BUCC_PAIRED)
        alone = size - pairs
        sides = {"foreign": plans[: pairs + alone], "source": plans[:pairs] + plans[pairs + alone :]}
        rows = []
        for side, chosen in sides.items():
            speaker, mark, across = (voice, "f", "s") if side == "foreign" else (home, "s", "f")
            block = [
                {"id": f"{key}-{mark}", "text": self._text(speaker, plan), "side": side,
                 "gold": [f"{key}-{across}"] if n < pairs else []}
                for n, (key, plan) in enumerate(chosen)
            ]  # fmt: skip
            random.Random(f"mining {side}").shuffle(block)
            rows += block
        return rows


def supertags(tokens: list[Token]) -> list[str]:
    """CCG-like categories of the words of one clause. They depend on the sentence: a verb's on which
    arguments it has and on which side of it, a noun's on its determiner and grammatical form, an
    adposition's on whether it opens the sentence. Slashes follow the surface order."""
    at = next(i for i, token in enumerate(tokens) if token.slot == "verb")
    subject = "object" if tokens[at].form == "passive" else "subject"
    verb = "S[pass]" if tokens[at].form == "passive" else "S[dcl]"
    for slot in (subject, *(slot for slot in ("object", "recipient") if slot != subject)):
        positions = [i for i, token in enumerate(tokens) if token.slot == slot]
        if positions:
            part = "NP" if slot != "recipient" else "PP"
            if tokens[positions[0]].form == "pred" and all(tokens[i].upos == "ADJ" for i in positions):
                part = "AP"
            verb = f"({verb}{'/' if positions[0] > at else chr(92)}{part})"
    tags = []
    for i, token in enumerate(tokens):
        phrase = [t for t in tokens if t.slot == token.slot]
        determined = any(t.upos in ("DET", "NUM") for t in phrase)
        if token.slot == "verb":
            tags.append(verb)
        elif token.slot == "negation":
            tags.append("(S\\NP)/(S\\NP)" if i < at else "(S\\NP)\\(S\\NP)")
        elif token.upos == "PUNCT":
            tags.append(".")
        elif token.upos == "ADP":
            kind = "PP" if token.slot.startswith("recipient") else "S/S" if i in (0, 1) else "S\\S"
            tags.append(f"({kind}){'/' if i + 1 < len(tokens) and tokens[i + 1].form == token.form else chr(92)}NP")
        elif token.upos in ("DET", "NUM"):
            tags.append(f"NP[{token.form}]/N")
        elif token.upos == "ADJ":
            tags.append("AP" if len(phrase) == 1 else "N/N" if token is phrase[0] or determined else "N\\N")
        else:
            tags.append("N" if determined else f"NP[{token.form}]")
    return tags
