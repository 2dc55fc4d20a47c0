"""Resource names: how each is written, and the only place that reads one."""

import re
from typing import Final, NamedTuple

from apaise_kit.core.errors import invalid_field

WILDCARD: Final = "-"
_SLUG: Final = re.compile(r"[a-z0-9-]{1,63}")


def check_slug(value: str, field: str) -> str:
    """Give back a valid slug.

    Raises:
        InvalidArgument: when it is not 1 to 63 of a-z, 0-9 and '-', or is the wildcard "-" itself.
    """
    if value == WILDCARD or not _SLUG.fullmatch(value):
        raise invalid_field(field, "must be 1 to 63 characters among a-z, 0-9 and '-', and not '-' alone")
    return value


class Name(NamedTuple):
    """A parsed name. For the brand itself, `id` is the brand."""

    brand: str
    id: str


class Template:
    """How the names of one kind of thing are written: `brands/{brand}` or `brands/{brand}/<collection>/{id}`."""

    def __init__(self, collection: str | None, variable: str) -> None:
        """`collection` is None for the brand itself; `variable` is only for reading error messages."""
        self.pattern = "brands/{brand}" + (f"/{collection}/{{{variable}}}" if collection else "")
        self._collection = collection

    def format(self, brand: str, id: str | None = None) -> str:
        """Write a name.

        Raises:
            InvalidArgument: when a part is not a slug.
        """
        check_slug(brand, "brand")
        if self._collection is None:
            return f"brands/{brand}"
        return f"brands/{brand}/{self._collection}/{check_slug(id or '', self._collection)}"

    def parse(self, name: str, field: str = "name") -> Name:
        """Read a name.

        Raises:
            InvalidArgument: when it is not written like this template; `field` is the field blamed.
        """
        match name.split("/"):
            case ["brands", brand] if self._collection is None and _is_slug(brand):
                return Name(brand, brand)
            case ["brands", brand, self._collection, id] if _is_slug(brand) and _is_slug(id):
                return Name(brand, id)
        raise invalid_field(field, f"must look like {self.pattern}, each part 1 to 63 of a-z, 0-9 and '-'")


def _is_slug(value: str) -> bool:
    return value != WILDCARD and _SLUG.fullmatch(value) is not None


BRAND: Final = Template(None, "brand")
CHANNEL: Final = Template("channels", "channel")
MESSAGE: Final = Template("messages", "message")
CHARTER: Final = Template("charters", "version")
LIVE_WORD: Final = Template("liveWords", "id")
REVIEW_ITEM: Final = Template("reviewItems", "id")
GOLDEN_ITEM: Final = Template("goldenItems", "golden_item")
CASE: Final = Template("cases", "case")
ANSWER: Final = Template("answers", "answer")
EXHIBIT: Final = Template("exhibits", "exhibit")
REVIEW: Final = Template("reviews", "review")
PRECEDENT: Final = Template("precedents", "precedent")
ADAPTER: Final = Template("adapters", "revision")
TRAINING_RUN: Final = Template("trainingRuns", "run")


def parse_brand(name: str, field: str = "name", wildcard: bool = False) -> str:
    """The slug of `brands/{brand}`; "-" for `brands/-` where `wildcard` allows it (all the caller's brands).

    Raises:
        InvalidArgument: when it is anything else.
    """
    if wildcard and name == f"brands/{WILDCARD}":
        return WILDCARD
    return BRAND.parse(name, field).brand


def brand_of(name: str) -> str | None:
    """The brand segment of any name under `brands/`, unchecked, or None: what the brand guard looks at."""
    parts = name.split("/", 2)
    return parts[1] if len(parts) > 1 and parts[0] == "brands" else None
