"""A task of the user's own, as a study declares it under ``own:``. Only pydantic is imported."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

NAME = r"^[a-z][a-z0-9]{0,39}$"  # of a task
NEEDS_NO_COLUMNS = {"tagging": "a word, a tab and its tag a line", "span": "SQuAD's JSON"}


class OwnTask(BaseModel):
    """Files, relative to the project, and what their columns are called.

    Classification and choice: ``.csv``, ``.tsv`` (raw, no quotes) or ``.jsonl``; tagging: a word, a tab and its tag a
    line, or ``.conllu``; span: SQuAD's JSON.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Literal["classification", "choice", "tagging", "span"]
    title: str = Field("", description="in figures and sentences; empty: its name")
    train: str = Field(min_length=1, description="in the source language")
    dev: str = Field("", description="in the source language; empty: every fifth row of train is kept for it")
    test: dict[str, str] | str = Field(
        {}, description="language -> file, or one path with {language} in it; none: dev is what is scored"
    )
    id: str = Field("", description="column; empty: rows are numbered. Equal ids are translations of each other")
    label: str = Field("label", description="column; of a choice: the right column's name, or its number from 0")
    text_a: str = Field("text", description="column of a classification's text")
    text_b: str = Field("", description="column of the second one; empty: it has one")
    context: str = Field("", description="column of what a choice follows; empty: none")
    question: str = Field("", description="column; empty: none")
    choices: tuple[str, ...] = Field((), description="columns")
    labels: tuple[str, ...] = Field((), description="in the order of the head; empty: those of train, sorted")

    @model_validator(mode="after")
    def _columns_of_the_kind(self) -> "OwnTask":
        stated = self.model_fields_set & {"id", "label", "text_a", "text_b", "context", "question", "choices"}
        stated = {name for name in stated if getattr(self, name) != type(self).model_fields[name].default}
        if self.kind in NEEDS_NO_COLUMNS and stated:
            raise ValueError(f"{min(stated)}: a {self.kind} task has no columns to name: {NEEDS_NO_COLUMNS[self.kind]}")
        if self.kind == "choice" and len(set(self.choices)) < 2:
            raise ValueError("choices: name the columns to choose from, two or more")
        if self.kind == "choice" and not (self.context or self.question):
            raise ValueError("context, question: name the column that the choices follow, one or both")
        if isinstance(self.test, str) and self.test and "{language}" not in self.test:
            raise ValueError(f'test: "{self.test}": write {{language}} where its code stands, or language: file pairs')
        return self
