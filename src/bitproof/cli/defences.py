"""Models behind defences, for `bitproof evaluate`."""

from collections.abc import Mapping, Sequence
from typing import Any

from bitproof.cli.checks import check_distinct


def defended(tested: Mapping[str, Any], defences: Sequence[Any], clean: Any) -> dict[str, Any]:
    """Each model behind each defence, and all of them together behind one that takes several, by name.

    Args:
        tested: the models without a defence.
        defences: settings.
        clean: images that thresholds are chosen on.

    Raises:
        InputError: a defence that is given twice, or that cannot be made of these models.
    """
    check_distinct([defence.label for defence in defences])
    found: dict[str, Any] = {}
    for defence in defences:
        images = clean if defence.needs_clean else None
        if defence.joint:
            found[defence.label] = defence(*tested.values(), clean=images)
        else:
            found |= {f"{name}, {defence.label}": defence(model, clean=images) for name, model in tested.items()}
    return found
