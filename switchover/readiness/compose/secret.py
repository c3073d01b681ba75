"""What looks like a password, a key or a token: by a variable's name, by its own form, by what stands before it."""

from __future__ import annotations

import re
from functools import lru_cache

from switchover.readiness.compose.interpolate import Variables
from switchover.readiness.compose.node import Mark

LONGEST = 4096
"""So much of a text is looked at."""

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
"""Where a word of ``dbPassword`` begins."""
_WORD = r"password|passwd|passphrase|secret|token|credentials?|requirepass|masterauth|api_?key|secret_?key"
_PART = r"pwd|pass|salt|(?:auth|access|role|private|app|encryption|signing|master)_?key"
_NAME = re.compile(
    rf"(?:{_WORD}|(?:^|[_.-])(?:{_PART}))(?:[_.-]?(?:\d+|base|hash|value))?$",  # PGPASSWORD, db-pass, SECRET_KEY_BASE
    re.IGNORECASE,
)
_NO_SECRET = re.compile(
    r"\W*|true|false|yes|no|on|off|none|null|\d|/[\w./-]*|bearer ?|basic ?|base64:",  # a switch, a path, a prefix
    re.IGNORECASE,
)
_TOKEN = re.compile(
    r"(?:^|[^A-Za-z0-9])(?:AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|glpat-[\w-]{20,}|"
    r"sk_live_[A-Za-z0-9]{16,}|xox[abprs]-[A-Za-z0-9-]{10,}|SG\.[\w-]{16,}\.[\w-]{16,}|eyJ[\w-]{10,}\.eyJ[\w-]{10,}|"
    r"AIza[\w-]{30,})|\${1,2}(?:apr1|2[aby]|[56y])\${1,2}[\w./$]{8,}|-----BEGIN [A-Z ]*PRIVATE KEY"
)
"""What services hand out has a form of its own; so have hashes (``$apr1$…``) and keys."""
_IN_URL = re.compile(r"://[^\s/?#:@]*:(?!\$)[^\s/?#@]+@")
"""``postgres://app:hunter2@db``"""
_GIVEN = re.compile(r"""(?:(?<![\w-])(--?\w[\w.-]*)[= ]|(?<![\w.-])([\w.-]+)=)["']?(?=([^\s"'&;$%<{-][^\s"'&;]*))""")
"""``--password hunter2``, ``?password=hunter2``, ``Server=db;Password=hunter2``"""

_ANY_URL = re.compile(r"://[^\s:@]*:(\S+)@")
_BEFORE = re.compile(r"""(?<![\w.-])([\w.-]+)["']?[ \t]*[:=][ \t]*|(--?\w[\w.-]*)["',\s]+""")
_VARIABLE_ALONE = re.compile(r"""["']?\$(?:\w+|\{\w+\})["'\]},\s]*""")
_DOT = "•"


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Whether a variable of this name holds a secret; one that names a file does not."""
    name = _HUMP.sub("_", name[-LONGEST:])
    return not name.upper().endswith(("_FILE", "_PATH")) and _NAME.search(name) is not None


def written(source: str) -> str:
    """What stands in the file itself: ``$$`` as ``$``, a variable as its default or nothing."""
    return Variables({}).expand(source, Mark("", 0, 0, 0)) if "$" in source else source


def is_secret(text: str) -> bool:
    """Whether this, as the value of something with a secret's name, is one."""
    return _NO_SECRET.fullmatch(text[:LONGEST]) is None


def has_secret(source: str) -> bool:
    """Whether a password or a token stands in a text about something else: a URL, a command, a label."""
    text = written(source)[:LONGEST]
    if _TOKEN.search(text) or (text != source and _TOKEN.search(source[:LONGEST])):
        return True
    if "@" in text and _IN_URL.search(text):
        return True
    given = _GIVEN.finditer(text) if "=" in text or " -" in text else ()
    return any(is_secret_name(found[1] or found[2]) and is_secret(found[3]) for found in given)


@lru_cache(maxsize=1024)
def without_secrets(line: str) -> str:
    """A line of a file with everything covered that may be a secret; rather too much than too little."""
    line = _ANY_URL.sub(lambda found: found[0][: -len(found[1]) - 1] + _DOT * len(found[1]) + "@", line)
    line = _TOKEN.sub(lambda found: _DOT * len(found[0]), line)
    named = (found.end() for found in _BEFORE.finditer(line) if is_secret_name(found[1] or found[2]))
    start = min(named, default=len(line))
    rest = line[start:]
    return line if _VARIABLE_ALONE.fullmatch(rest) else line[:start] + _DOT * len(rest)
