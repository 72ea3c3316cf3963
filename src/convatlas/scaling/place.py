"""Where a study is: its database, its name in it, and the folder that its report is written into."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from convatlas.errors import ConvatlasError
from convatlas.files import write_whole

DATABASE, WHOSE = "study.db", "study.json"


@dataclass(frozen=True)
class Place:
    """storage: a URL as of ``Study``; by default SQLite in the folder.  study: by default the folder's own name."""

    folder: Path
    storage: str | None = None
    study: str | None = None

    @property
    def url(self) -> str:
        return self.storage or f"sqlite:///{self.folder / DATABASE}"

    @property
    def name(self) -> str:
        return self.study or self.folder.resolve().name

    def claim(self) -> None:
        """Say in the folder which study's it is.  Raises ConvatlasError where it is another's, or cannot be written."""
        own = {"storage": without_password(self.url) if self.storage else DATABASE, "study": self.name}
        path = self.folder / WHOSE
        if path.is_file() and (other := json.loads(path.read_text(encoding="utf-8"))) != own:
            raise ConvatlasError(f"{self.folder} holds the report of the study {other['study']} in {other['storage']}; "
                                 "give another --out")  # fmt: skip
        write_whole(path, lambda beside: beside.write_text(json.dumps(own), encoding="utf-8"))


def without_password(url: str) -> str:
    """A storage's URL as it may be shown."""
    try:
        return make_url(url).set(query={}).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return f"{url.partition(':')[0]}:…"
