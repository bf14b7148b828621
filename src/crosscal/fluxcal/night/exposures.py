"""Which frames of a job are arms of one exposure, by their names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from crosscal.core.errors import ConfigError


def exposures_of(names: Sequence[str], arms: Sequence[str]) -> list[tuple[int, ...]]:
    """Numbers of the frames of each exposure in the order of the arms; each frame by itself where no arms are stated.

    ``arms`` holds a pattern of names for each arm. A ``*`` stands for any text, which names the exposure.

    Raises
    ------
    ConfigError
        If there is one pattern only or one without ``*``, a name fits none or several of them, or an exposure lacks
        the frame of an arm.

    Examples
    --------
    >>> exposures_of(["b-1.fits", "b-2.fits", "r-1.fits", "r-2.fits"], ["b-*.fits", "r-*.fits"])
    [(0, 2), (1, 3)]
    """
    if not arms:
        return [(k,) for k in range(len(names))]
    if len(arms) < 2 or not all("*" in arm for arm in arms):
        raise ConfigError(
            f"{list(arms)}", where="arms", expected='a pattern with * for each of two arms or more: ["b-*", "r-*"]'
        )
    patterns = [re.compile("(.*)".join(map(re.escape, arm.split("*"))), re.DOTALL) for arm in arms]
    found: dict[tuple[str, ...], dict[int, int]] = {}
    for k, name in enumerate(names):
        matches = [(a, match.groups()) for a, pattern in enumerate(patterns) if (match := pattern.fullmatch(name))]
        if len(matches) != 1:
            raise ConfigError(
                f"{name} matches {len(matches)} of the patterns of arms", where="arms",
                expected="one pattern for each frame: change arms, or leave this frame out of frames",
            )  # fmt: skip
        ((arm, exposure),) = matches
        found.setdefault(exposure, {})[arm] = k
    for own in found.values():
        missing = [arms[a] for a in range(len(arms)) if a not in own]
        if missing:
            raise ConfigError(
                f"the exposure of {names[next(iter(own.values()))]} has no frame {' and '.join(missing)}", where="arms",
                expected="a frame of each arm: add it to frames, or leave this exposure out",
            )  # fmt: skip
    return [tuple(own[a] for a in range(len(arms))) for own in found.values()]
