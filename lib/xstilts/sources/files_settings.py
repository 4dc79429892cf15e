from pydantic import BaseModel
class FilesSettings(BaseModel):
    root: str = "../shared/data"
