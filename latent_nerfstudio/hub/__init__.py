"""What is published on the Hub, and what its author says of it."""

from dataclasses import dataclass


@dataclass(kw_only=True)
class Notes:
    """What the author of a publication says: flags of `lns push`."""

    title: str = ""
    """Title of the card."""
    description: str = ""
    """Description of what it is, for the card."""
    data: str = ""
    """Data that it was learned from and whose they are, for the card."""
    licence: str = ""
    """Licence by the Hub's name, for the card, `apache-2.0` for instance."""
