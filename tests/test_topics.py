"""The two topics of the micro-world's choice tasks: disjoint, right, and beside data that has not changed."""

import hashlib
import json

import pytest

from microworld import concepts
from microworld.settings import MicroSettings
from microworld.tasks import TOPICS, topic_of
from xstilts.sources.micro import MicroSource
from xstilts.tasks import get

# of COPA's training and XCOPA's test rows before there were topics: what the default study is trained and scored on
BEFORE = "485b35fffbd4ad25ccf31d6f6b78d163b247fc513c6aeb1155b516d0ec7bfc40"


@pytest.fixture(scope="module")
def source():
    return MicroSource(MicroSettings(choice={"train": 300, "dev": 60, "test": 60}))


@pytest.mark.parametrize(("task", "topic"), [("socialiqa", "social"), ("piqa", "physical")])
@pytest.mark.parametrize("split", ["train", "dev"])
def test_each_task_tells_of_its_topic_alone(source, task, topic, split):
    assert set(source.topics(get(task), split).values()) == {topic}
    rows = source.load(get(task), split, "qaa")
    words = {word for row in rows for text in (row["context"], *row["choices"]) for word in text.rstrip(".").split()}
    (foreign,) = [kinds for name, kinds in TOPICS.items() if name != topic]
    forms = source.examples.world.words["qaa"]
    nouns = {forms[noun] for noun in concepts.CONVERSIONS.values()}  # written as verbs are
    assert not words & ({forms[verb] for kind in foreign for verb in concepts.VERBS[kind]} - nouns)
    assert list(source.topics(get(task), split)) == rows["id"][:]


@pytest.mark.parametrize("task", ["socialiqa", "piqa"])
def test_the_right_alternative_is_what_comes_before_or_after(source, task):
    labels = []
    for _, plan in source.examples.plans(task, "choice", "train"):
        event, relation = plan["context"][0].clause, plan["question"][0]
        table = concepts.PREVIOUS if relation == "cause" else concepts.NEXT
        right, wrong = (plan["choices"][index][0].clause for index in (plan["label"], 1 - plan["label"]))
        assert right.verb == table[event.verb] != wrong.verb
        assert right.subject == event.subject == wrong.subject and right.object == event.object
        labels.append(plan["label"])
    assert sum(labels) == len(labels) / 2


def test_a_test_item_of_both_topics_has_none(source):
    topics = source.topics(get("xcopa"), "test")
    for key, plan in source.examples.plans("xcopa", "choice", "test"):
        verbs = [part.clause.verb for parts in (plan["context"], *plan["choices"]) for part in parts]
        known = {"social" if concepts.VERB_CLASS[verb] in TOPICS["social"] else "physical" for verb in verbs}
        assert topics[key] == topic_of(plan) == (known.pop() if len(known) == 1 else "")
    assert set(topics.values()) == {"social", "physical", ""}


def test_the_default_study_reads_the_same_rows_as_before():
    small = MicroSource(MicroSettings(choice={"train": 60, "dev": 60, "test": 60}))
    sets = [(name, split, code) for name, split in (("copa", "train"), ("xcopa", "test")) for code in ("qaa", "qah")]
    rows = [small.load(get(name), split, code).to_list() for name, split, code in sets]
    assert hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest() == BEFORE
