"""A setting is a value: a frozen dataclass that can be described, hashed, rebuilt, and read from a command line.

Every attack, shift, scheme and recipe is such a value. From its fields follow its description (plain data, stored with
each result), its digest (part of the cell's key) and its text form (`grammar`).
"""

from bitproof.settings.describing import FUNCTIONS, build, describe, digest
from bitproof.settings.extending import Table
from bitproof.settings.grammar import Call, as_settings, call, name_family, parse
from bitproof.settings.importing import failed, failed_in_own_code, imported, is_importable
from bitproof.settings.installed import Plugin, distributions, plugins
from bitproof.settings.source import source_of, values_of

__all__ = [
    "FUNCTIONS",
    "Call",
    "Plugin",
    "Table",
    "as_settings",
    "build",
    "call",
    "describe",
    "digest",
    "distributions",
    "failed",
    "failed_in_own_code",
    "imported",
    "is_importable",
    "name_family",
    "parse",
    "plugins",
    "source_of",
    "values_of",
]
