"""Open families: a registry maps a name to a class or function that is imported on first use.

A member is one file and one line in the family's table. Other packages add members through the entry-point
group that is called as the family (``crosscal.modifiers``, ``crosscal.template_libraries``, ...).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from crosscal.core.errors import InputError, UnknownNameError


class Registry:
    """Named members of one family, looked up without regard to case.

    Parameters
    ----------
    kind : str
        What one member is called in messages ("modifier").
    members : mapping of str to str
        Name to import path ``"package.module:attribute"``.

    Examples
    --------
    >>> MODIFIERS = Registry("modifier", {"grey": "crosscal.xray.modifiers.grey:Grey"})
    >>> MODIFIERS.names()
    ('grey',)
    """

    def __init__(self, kind: str, members: Mapping[str, str | Any]) -> None:
        self.kind = kind
        self._members: dict[str, Any] = dict(members)
        self._plugins_read = False

    @property
    def group(self) -> str:
        """The entry-point group through which other packages add members ("crosscal.template_libraries")."""
        kind = self.kind.replace(" ", "_")
        if kind.endswith("y"):
            return f"crosscal.{kind[:-1]}ies"
        return f"crosscal.{kind}es" if kind.endswith("s") else f"crosscal.{kind}s"

    def _read_plugins(self) -> None:
        if self._plugins_read:
            return
        self._plugins_read = True
        for point in entry_points(group=self.group):
            self._members.setdefault(point.name, point)

    def register(self, name: str, member: Any) -> None:
        """Add a member at run time; ``member`` is an object or an import path.

        Raises
        ------
        InputError
            If the name is taken by a different member.
        """
        self._read_plugins()
        if self._members.get(name, member) is not member:
            raise InputError(f"the {self.kind} name {name!r} is already taken", expected="an unused name")
        self._members[name] = member

    def unregister(self, name: str) -> None:
        """Remove a member added at run time (for tests and notebooks); a missing name is not an error."""
        self._members.pop(name, None)

    def names(self) -> tuple[str, ...]:
        """Return the registered names, in order of registration."""
        self._read_plugins()
        return tuple(self._members)

    def get(self, name: str, *, where: str | None = None) -> Any:
        """Return the member called ``name``.

        Raises
        ------
        UnknownNameError
            With the closest known names, if there is no such member.
        """
        key = self.name_of(name, where=where)
        member = self._members[key]
        if isinstance(member, EntryPoint):
            member = member.load()
        elif isinstance(member, str):
            module, _, attribute = member.partition(":")
            member = getattr(import_module(module), attribute)
        self._members[key] = member
        return member

    def name_of(self, name: str, *, where: str | None = None) -> str:
        """Return the registered name that is meant, without importing the member.

        Raises
        ------
        UnknownNameError
            With the closest known names, if there is no such member.
        """
        self._read_plugins()
        if name in self._members:
            return name
        lowered = {key.lower(): key for key in self._members}
        try:
            return lowered[str(name).lower()]
        except KeyError:
            raise UnknownNameError(self.kind, str(name), self._members, where=where) from None

    def describe(self) -> dict[str, str]:
        """Return the first docstring line of every member (of its ``model``, if it has one), for ``crosscal list``."""
        members = {name: self.get(name) for name in self.names()}
        texts = {name: getattr(member, "model", member).__doc__ or "" for name, member in members.items()}
        return {name: next(iter(text.strip().splitlines()), "") for name, text in texts.items()}

    def __contains__(self, name: object) -> bool:
        self._read_plugins()
        return str(name).lower() in {key.lower() for key in self._members}

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())
