"""What a study may set about the hub source. Only pydantic is imported: a study is validated first."""

from pydantic import BaseModel, ConfigDict, Field

from .files_settings import Limits


class HubSettings(BaseModel):
    """The hub source: pinned repositories of the Hugging Face hub, and folders for what it does not hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    mirror: str = Field(
        "", description="folder with the repositories as on the hub (google/xtreme/…); the network is then not used"
    )
    limits: Limits = Limits()
    ccgbank: str = Field("", description="folder of LDC2005T13 (data/AUTO) or of train.tsv and dev.tsv: word, supertag")
    bucc: str = Field("", description="folder of de-en.dev.de, de-en.dev.en, de-en.dev.gold, de-en.test.de, …")
    documents_per_language: int = Field(
        5000, ge=1, description="leading Wikipedia articles of each language, as the text for masked LM"
    )
