"""Parameters that one line of a docstring names together have their own types in the API's pages, not the first one's."""

from typing import Any

from griffe import DocstringSectionKind, Extension, Object


class OwnTypes(Extension):
    """Gives each parameter the annotation that it has in the signature."""

    def on_package(self, *, pkg: Object, **_: Any) -> None:
        """After the whole package is read."""
        _typed(pkg)


def _typed(thing: Object) -> None:
    parameters = getattr(thing, "parameters", None)
    if parameters is not None and thing.docstring is not None:
        for section in thing.docstring.parsed:
            if section.kind is DocstringSectionKind.parameters:
                for each in section.value:
                    if each.name in parameters:
                        each.annotation = parameters[each.name].annotation
    for member in thing.members.values():
        if not member.is_alias:
            _typed(member)
