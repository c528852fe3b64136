"""etcd's command line and environment, read by etcd's rules (those of Go's flag package).

`read` turns argv and the environment into `Given`: the text of every flag that has an effect here,
and the warnings for those that have none. What a text means is decided once, in
`racos.node.config`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from racos.node.flagtable import FLAGS, Flag, Kind, Treatment


class ConfigError(Exception):
    """The configuration cannot be used; the text is one line that says what to change."""


class Ask(Enum):
    """What the command line asks for instead of a server."""

    HELP = "help"
    VERSION = "version"


class Asked(Exception):
    """`--help` or `--version` was given: print that and exit with 0."""

    def __init__(self, ask: Ask) -> None:
        super().__init__(ask.value)
        self.ask = ask


@dataclass(frozen=True, slots=True)
class Given:
    """The flags as given, defaults filled in; texts are already known to parse as their kind."""

    texts: Mapping[str, str]
    warnings: tuple[str, ...]

    def __contains__(self, name: str) -> bool:
        return name in self.texts

    def text(self, name: str) -> str:
        return self.texts.get(name, _BY_NAME[name].default)

    def number(self, name: str) -> int:
        return parse_number(self.text(name))

    def seconds(self, name: str) -> float:
        return parse_seconds(self.text(name))

    def truth(self, name: str) -> bool:
        return parse_flag(self.text(name))

    def words(self, name: str) -> tuple[str, ...]:
        """The parts of a comma separated list, without blanks."""
        return tuple(part.strip() for part in self.text(name).split(",") if part.strip())


def read(argv: Sequence[str], environ: Mapping[str, str]) -> Given:
    """Reads flags and ETCD_* variables. Raises ConfigError, or Asked for help and version."""
    texts: dict[str, str] = {}
    warnings: list[str] = []
    for flag, text in _from_argv(argv):
        _check_kind(flag, text, f"-{flag.name}")
        texts[flag.name] = text
    given_by_flag = frozenset(texts)
    for variable, flag, text in _from_environ(environ, warnings):
        if flag.name in given_by_flag:
            raise ConfigError(
                f"conflicting environment variable {variable} is shadowed by the flag "
                f"--{flag.name}: unset the variable or drop the flag"
            )
        if text:
            _check_kind(flag, text, variable)
            texts[flag.name] = text
    used = {
        name: text for name, text in texts.items() if _has_effect(_lookup(name), text, warnings)
    }
    return Given(used, tuple(warnings))


def help_text(program: str) -> str:
    """The flags that have an effect, with defaults, for `--help`."""
    lines = [f"usage: {program} [flags]", "", "Each flag may also be set as ETCD_<NAME>.", ""]
    for flag in FLAGS:
        if flag.treatment is Treatment.USED:
            default = f" (default {flag.default})" if flag.default else ""
            lines.append(f"  --{flag.name:<30} {flag.help}{default}")
    lines.append("")
    lines.append("etcd's other tuning flags are accepted and ignored with a warning.")
    return "\n".join(lines)


_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_NUMBER = re.compile(r"[+-]?\d{1,19}", re.ASCII)


def parse_flag(text: str) -> bool:
    """A boolean as Go writes it. Raises ValueError."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("want true or false")


def parse_number(text: str) -> int:
    """A decimal 64-bit integer. Raises ValueError."""
    if not _NUMBER.fullmatch(text) or not -(2**63) <= int(text) < 2**63:
        raise ValueError("want a whole number")
    return int(text)


def parse_size(text: str) -> int:
    """A number that is not negative. Raises ValueError."""
    number = parse_number(text)
    if number < 0:
        raise ValueError("want a whole number that is not negative")
    return number


def parse_seconds(text: str) -> float:
    """A Go duration (`150ms`, `1h30m`, `0`) in seconds. Raises ValueError."""
    if text == "0":
        return 0.0
    parts = list(_DURATION_PART.finditer(text))
    if not parts or "".join(part.group() for part in parts) != text:
        raise ValueError("want a duration such as 150ms, 5s or 10m")
    return sum(float(part.group(1)) * _UNITS[part.group(2)] for part in parts)


_PARSERS: dict[Kind, Callable[[str], object]] = {
    Kind.TEXT: str,
    Kind.BARE: str,
    Kind.BOOL: parse_flag,
    Kind.NUMBER: parse_number,
    Kind.SIZE: parse_size,
    Kind.DURATION: parse_seconds,
}


def _check_kind(flag: Flag, text: str, source: str) -> None:
    try:
        _PARSERS[flag.kind](text)
    except ValueError as error:
        raise ConfigError(f'invalid value "{text}" for {source}: {error}') from None


def _from_argv(argv: Sequence[str]) -> Iterator[tuple[Flag, str]]:
    """(flag, text) for each flag, in order; anything that is not a flag is an error, as in etcd."""
    rest = iter(argv)
    for argument in rest:
        if argument == "--" or len(argument) < 2 or argument[0] != "-":
            stray = next(rest, None) if argument == "--" else argument
            if stray is not None:
                raise ConfigError(f"'{stray}' is not a valid flag (flags begin with --)")
            return
        name, equals, text = argument.removeprefix("-").removeprefix("-").partition("=")
        if not name or name[0] == "-":
            raise ConfigError(f"bad flag syntax: {argument}")
        if name in ("h", "help"):
            raise Asked(Ask.HELP)
        flag = _lookup(name)
        if flag.name == "version":
            raise Asked(Ask.VERSION)
        if not equals:
            text = "true" if flag.kind in (Kind.BOOL, Kind.BARE) else _argument_of(name, rest)
        yield flag, text


def _argument_of(name: str, rest: Iterator[str]) -> str:
    text = next(rest, None)
    if text is None:
        raise ConfigError(f"flag needs an argument: -{name}")
    return text


_EXPERIMENTAL = "experimental-"
_BY_NAME = {flag.name: flag for flag in FLAGS}


def _lookup(name: str) -> Flag:
    """The flag of that name; etcd 3.6 dropped the prefix `experimental-` of 3.5 and takes both."""
    flag = _BY_NAME.get(name) or _BY_NAME.get(name.removeprefix(_EXPERIMENTAL))
    if flag is not None:
        return flag
    if name.startswith(_EXPERIMENTAL):
        # Experiments come and go with etcd's versions; as they may or may not take a value, only
        # `--name` and `--name=value` are read.
        return Flag(name, Kind.BARE, "", Treatment.IGNORED, "an experiment of etcd")
    raise ConfigError(f"flag provided but not defined: -{name} (--help lists the flags)")


def _is_known(name: str) -> bool:
    return name in _BY_NAME or name.startswith(_EXPERIMENTAL)


def _from_environ(
    environ: Mapping[str, str], warnings: list[str]
) -> Iterator[tuple[str, Flag, str]]:
    for variable in sorted(environ):
        if not variable.startswith("ETCD_"):
            continue
        name = variable.removeprefix("ETCD_").lower().replace("_", "-")
        # Container images set ETCD_VERSION to tell what they hold, not to ask for it.
        if name == "version" or not _is_known(name):
            warnings.append(f"unrecognized environment variable {variable} is ignored")
            continue
        yield variable, _lookup(name), environ[variable]


def _has_effect(flag: Flag, text: str, warnings: list[str]) -> bool:
    """True for a flag to use; refuses what would be a lie to accept, warns of what is ignored."""
    if flag.treatment is Treatment.USED:
        return True
    if _means_default(flag, text):
        return False
    if flag.treatment is Treatment.REFUSED:
        raise ConfigError(f"--{flag.name} is not supported yet: {flag.help}")
    warnings.append(f"--{flag.name} is accepted but has no effect: {flag.help}")
    return False


def _means_default(flag: Flag, text: str) -> bool:
    """Whether the text asks for what would happen anyway: no need to warn or refuse."""
    if flag.kind is Kind.TEXT or not flag.default:
        return text == flag.default
    parser = _PARSERS[flag.kind]
    return parser(text) == parser(flag.default)
