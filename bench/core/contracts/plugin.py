"""What the parameters of all plug-ins have in common."""

from __future__ import annotations

from typing import ClassVar

from pydantic import ConfigDict


class Plugin:
    """A class whose fields are its parameters, and which accepts no others.

    Subclasses are dataclasses of pydantic, which reads the configuration here. Without it a misspelt parameter would
    be ignored.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
