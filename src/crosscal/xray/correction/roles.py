"""Who is trusted and who is corrected: decided by names, never by the order of columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.xray.correction.pairs import PairedSources

#: What `read_pairs` notes in the provenance where nothing but the order of columns gives the roles.
BY_ORDER = "order of columns"


def roles(
    known: Sequence[str], *, trusted: str = "", corrected: str = "", where: str = "table of pairs"
) -> tuple[str, str]:
    """Return (trusted, corrected) of the telescopes of a table; where it holds two, one name gives the other.

    Raises
    ------
    UnknownNameError
        If a name is not in the table.
    InputError
        If the names do not say which telescope has which role.
    """
    for name in (trusted, corrected):
        if name and name not in known:
            raise UnknownNameError("telescope", name, known, where=where)
    if trusted and trusted == corrected:
        raise InputError(
            f"{trusted!r} is both the reference and the telescope to correct",
            where=where,
            expected="two different telescopes",
        )
    if trusted and corrected:
        return trusted, corrected
    others = [name for name in known if name not in (trusted, corrected)]
    if not (trusted or corrected) or len(others) != 1:
        missing = "the reference telescope" if corrected else "the telescope to be corrected"
        raise InputError(
            f"it contains {', '.join(known)}, but it is not stated which is {missing}",
            where=where,
            expected="names of both: [trusted] name and [telescope] name, or trusted= and corrected= in Python",
        )
    return (trusted, others[0]) if trusted else (others[0], corrected)


def with_roles(pairs: PairedSources, telescope: str, trusted: str | None = None) -> PairedSources:
    """Return the pairs as (trusted, corrected), checked against the telescope that the emulator is of.

    Parameters
    ----------
    telescope : str
        Of the emulator; where the pairs name it, it is the one to be corrected.
    trusted : str, optional
        By default the first of ``pairs.telescopes``, unless only the order of columns put it there.

    Raises
    ------
    InputError
        If the emulator is of the reference telescope, or no reference is named; UnknownNameError if ``trusted`` is
        not in the pairs.
    """
    names, by_order = pairs.telescopes, pairs.provenance.get("roles") == BY_ORDER
    if trusted is not None:
        chosen = roles(names, trusted=trusted, where="paired sources")
    elif by_order and telescope in names:
        chosen = roles(names, corrected=telescope, where="paired sources")
    elif by_order:
        raise InputError(
            f"the order of columns does not say whether {names[0]} or {names[1]} is the reference",
            where="paired sources",
            expected=f"trusted={names[0]!r} or trusted={names[1]!r}",
        )
    else:
        chosen = names
    if telescope == chosen[0]:
        raise InputError(
            f"the emulator is of {telescope}, which is the reference telescope of the pairs",
            where="paired sources",
            expected=f"trusted={chosen[1]!r}, or an emulator of {chosen[1]}",
        )
    oriented = pairs if chosen == names else pairs.swapped()
    return replace(oriented, provenance={**pairs.provenance, "roles": "names"}) if by_order else oriented
