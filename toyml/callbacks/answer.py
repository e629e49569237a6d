"""The answer of an experiment: prose that is shown only where what it presupposes holds.

A sentence is shown if the settings that it presupposes are those of the run, and every claim that
it rests on was judged and came out as announced. Numbers in it are what these claims have measured.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jsonargparse.typing import register_type

from toyml.claims import HOLDS, NOT_APPLICABLE, REFUTED
from toyml.claims.claim import differing
from toyml.config import Config
from toyml.errors import UserError
from toyml.run import Run, lookup
from toyml.terminal import format_value

MOST = 4
"""So many reasons are given; of more their number is said."""

LONGEST = 60
"""Letters of a setting that are shown."""


@dataclass(frozen=True)
class Sentence:
    """A part of the answer, and what it rests on.

    Attributes:
        says: The text; ``{name:.2f}`` stands for the quantity of that name.
        given: Settings that it presupposes besides those of the whole answer, by dotted key.
        holds: Statements of claims that have to hold (or be refuted, as announced).
        names: The quantities in the text.

    Raises:
        UserError: The text is none that can be filled in.
    """

    says: str
    given: Mapping[str, Any] = field(default_factory=dict)
    holds: Sequence[str] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The quantities in the text."""
        try:
            return tuple(name for _, name, _, _ in string.Formatter().parse(self.says) if name)
        except ValueError as error:
            raise UserError(
                f"answer {self.says!r}: {error}; a brace that is none of a quantity is written "
                "twice, {{ or }}"
            ) from error

    def filled(self, values: Mapping[str, float | str]) -> str:
        """The text with its quantities; a format that does not fit one gives way to our own."""
        try:
            return self.says.format(**values)
        except (ValueError, TypeError):
            return self.says.format(**{n: Plain(format_value(v)) for n, v in values.items()})


class Plain(str):
    """A word that is shown as it is, whatever the format."""

    def __format__(self, spec: str) -> str:
        """The word."""
        return str(self)


class Prose:
    """The parts of an answer as a config has them; a parser would read ``a: b`` in their texts.

    Args:
        parts: Texts, or mappings with ``says``, ``given`` and ``holds``.

    Raises:
        ValueError: No list of these.
    """

    def __init__(self, parts: Sequence[str | Mapping[str, Any]]) -> None:
        if isinstance(parts, str) or not isinstance(parts, Sequence):
            raise ValueError(f"{parts!r} is not a list of texts")
        self.parts = list(parts)


register_type(Prose, serializer=lambda prose: prose.parts, deserializer=Prose)


class Told(NamedTuple):
    """What is shown of an answer.

    Attributes:
        sentences: What holds here.
        aside: A sentence on what is left out and why; "" if nothing is.
    """

    sentences: list[str]
    aside: str


class Answer:
    """Sentences, what they presuppose, and the quantities in them.

    Args:
        parts: Texts, or mappings with ``says``, ``given`` and ``holds`` (see :class:`Sentence`).
        given: Settings that all of them presuppose, by dotted key, besides what the ``Verdicts`` of
            the same config presuppose.
        quantities: Name of each number in the texts and the claim that measures it, by statement.

    Raises:
        UserError: A part that is neither, or a quantity that is not there.
    """

    def __init__(
        self,
        parts: Prose | Sequence[str | Mapping[str, Any]] = (),
        given: Mapping[str, Any] | None = None,
        quantities: Mapping[str, str] | None = None,
    ) -> None:
        parts = parts.parts if isinstance(parts, Prose) else parts
        self.sentences = [sentence(part) for part in parts]
        self.given, self.quantities = dict(given or {}), dict(quantities or {})
        # Without quantities braces are just letters.
        self.plain = not self.quantities and not any(isinstance(p, Mapping) for p in parts)
        for each in () if self.plain else self.sentences:
            for name in each.names:
                if name not in self.quantities:
                    raise UserError(
                        f"the answer has {{{name}}}, and quantities has no {name!r}; name the "
                        "claim that measures it"
                    )

    def tell(self, run: Run, lost: bool = False) -> Told:
        """What of it holds for a run.

        Args:
            run: The run, its claims judged.
            lost: Whether its training diverged; no answer is about one that did.
        """
        if not self.sentences:
            return Told([], "")
        if lost:
            return Told([], "The experiment's answer is not shown, because this training diverged.")
        given = {**verdicts_given(run.config), **self.given}
        judged = {v["statement"]: v for v in run.summary.get("claims", [])}
        stated = dict(statements(run.config, {}))
        told: list[str] = []
        settings: dict[str, None] = {}
        others: dict[str, None] = {}
        for each in self.sentences:
            inside = {} if self.plain else {name: self.quantities[name] for name in each.names}
            why = why_not(
                run, {**given, **each.given}, [*each.holds, *inside.values()], judged, stated
            )
            settings |= dict.fromkeys(why[0])
            others |= dict.fromkeys(why[1])
            if not any(why):
                values = {name: judged[rest]["measured"] for name, rest in inside.items()}
                told.append(each.says if self.plain else each.filled(values))
        left = len(self.sentences) - len(told)
        return Told(told, aside(left, len(self.sentences), list(settings), list(others)))


def sentence(part: str | Mapping[str, Any]) -> Sentence:
    """A part of an answer as a config writes it.

    Raises:
        UserError: It has other keys, or no text.
    """
    if isinstance(part, str):
        return Sentence(part)
    unknown = set(part) - {"says", "given", "holds"}
    if unknown or not isinstance(part.get("says"), str):
        odd = sorted(map(str, unknown))
        raise UserError(
            f"a part of the answer has {', '.join(odd) or 'no text'}; give says, given and holds"
        )
    holds = part.get("holds") or ()
    return Sentence(
        part["says"], part.get("given") or {}, [holds] if isinstance(holds, str) else list(holds)
    )


def why_not(
    run: Run,
    given: Mapping[str, Any],
    rests: Sequence[str],
    judged: Mapping[str, Mapping[str, Any]],
    stated: Mapping[str, Mapping[str, Any]],
) -> tuple[list[str], list[str]]:
    """Why a sentence is not shown: settings that differ, and other reasons; both empty if it is.

    Args:
        run: The run.
        given: Settings that it presupposes.
        rests: Statements of the claims that it rests on.
        judged: Verdicts by statement.
        stated: Settings that each claim presupposes, by statement.
    """
    if given and not run.config:
        return [], ["the fit was started from Python, without a config to compare"]
    presupposed, others = dict(given), []
    for statement in rests:
        verdict = judged.get(statement)
        if verdict is None:
            others.append(f"the claim “{statement}” was not judged")
        elif verdict["verdict"] == NOT_APPLICABLE:
            own = stated.get(statement, {})
            presupposed |= own
            if not differing(run, own):
                others.append(str(verdict["why"]))
        elif verdict["verdict"] not in (HOLDS, REFUTED):
            others.append(f"the claim “{statement}” does not hold here")
    settings = [
        f"{key} is {short(found)} instead of {short(wanted)}"
        for key, wanted, found in differing(run, presupposed)
    ]
    return settings, others


def aside(left: int, count: int, settings: Sequence[str], others: Sequence[str]) -> str:
    """What is left out of an answer and why, in a few sentences."""
    if not left:
        return ""
    which = "The" if left == count else f"{left} of {count} parts of the"
    words = f"{which} experiment's answer {'is' if left == count else 'are'} not shown."
    if left == 1 < count:
        words = "One part of the experiment's answer is not shown."
    if settings:
        words += f" These settings differ from the experiment's: {some(settings)}."
    if others:
        words += f" Why{' else' if settings else ''}: {some(others)}."
    return words


def some(reasons: Sequence[str]) -> str:
    """A few of the reasons, and how many more there are."""
    more = [f"and {len(reasons) - MOST:,} more"] if len(reasons) > MOST else []
    return "; ".join([*reasons[:MOST], *more])


def short(value: object) -> str:
    """A setting in few letters."""
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def verdicts_given(config: Config) -> Mapping[str, Any]:
    """What the first ``Verdicts`` of a config presupposes."""
    for section in ("sweep", "trainer"):
        for callback in lookup(config, f"{section}.callbacks") or []:
            path = callback.get("class_path") if isinstance(callback, Mapping) else callback
            if str(path).split(".")[-1] == "Verdicts":
                given: Mapping[str, Any] = lookup(callback, "given") or {}
                return given
    return {}


def statements(part: Any, given: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every claim of a config by its statement, and the settings that it presupposes."""
    if isinstance(part, Mapping):
        own = part.get("given")
        given = {**given, **own} if isinstance(own, Mapping) else given
        if isinstance(part.get("statement"), str):
            yield part["statement"], given
        for key, value in part.items():
            if key != "given":
                yield from statements(value, given)
    elif isinstance(part, list):
        for value in part:
            yield from statements(value, given)
