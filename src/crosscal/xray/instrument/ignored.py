"""Channels that are left out, in the words of XSPEC."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import InputError
from crosscal.xray.instrument.response import Response

Mask = NDArray[np.bool_]


def ignored_by(response: Response, text: str) -> Mask:
    """Return the channels that XSPEC's command ``ignore`` with these arguments leaves.

    Parameters
    ----------
    response : Response
    text : str
        Ranges ``a-b`` separated by blanks or commas; ``**`` is the first or last channel. A number with a decimal
        point is an energy in keV, one without a channel; a channel that contains an end is ignored.

    Raises
    ------
    InputError
        If the text has another form, or nothing is left.
    """
    keep = np.ones(response.n_channel, dtype=bool)
    number = r"\*\*|\d+(?:\.\d*)?|\.\d+"
    for part in text.replace(",", " ").split():
        match = re.fullmatch(rf"({number})(?:-({number}))?", part)
        if match is None:
            raise InputError(f"{part!r} cannot be read", where="ignored", expected="ranges such as '**-0.5 7.0-**'")
        low, high = match.group(1), match.group(2) or match.group(1)
        if "." in low.replace("**", "") or "." in high.replace("**", ""):
            start = -np.inf if low == "**" else float(low)
            stop = np.inf if high == "**" else float(high)
            keep &= ~((response.channel_hi > start) & (response.channel_lo < stop))
        else:
            start = -np.inf if low == "**" else int(low)
            stop = np.inf if high == "**" else int(high)
            keep &= ~((response.channels >= start) & (response.channels <= stop))
    if not keep.any():
        raise InputError("no channel is left", where=f"ignored {text!r}", expected="narrower ranges")
    return keep
