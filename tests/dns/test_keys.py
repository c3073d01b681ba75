"""TSIG key files as BIND and Knot tools write them; secrets show nowhere."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from switchover.dns.keys import KeyUnreadable, read_key

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "c3dp//dp+GNob3Zlci1sYQ=="
BIND = f'key "shop." {{\n\talgorithm hmac-sha256;\n\tsecret "{SECRET}";\n}};\n'
KNOT = f"key:\n  - id: shop.\n    algorithm: hmac-sha512\n    secret: {SECRET}\n"


def write(folder: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path = folder / "shop.key"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("text", "algorithm"),
    [
        (BIND, "hmac-sha256"),
        ('# made by tsig-keygen\n// for the shop\n/* key "other" { */\n' + BIND, "hmac-sha256"),
        (f"key shop {{ secret {SECRET}; }};", "hmac-sha256"),
        (f'key "shop" {{ algorithm HMAC-MD5.SIG-ALG.REG.INT; secret "{SECRET}"; }};', "hmac-md5"),
        (KNOT, "hmac-sha512"),
        (f"# hmac-sha512:shop:{SECRET}\n" + KNOT, "hmac-sha512"),
        (
            f'server:\n  - id: x\nkey:\n  - id: shop\n    secret: "{SECRET}"  # keep\nacl:\n  - id: a\n',
            "hmac-sha256",
        ),
    ],
    ids=["bind", "bind-comments", "bind-bare", "bind-md5", "knot", "keymgr-comment", "knot-conf"],
)
def test_a_key_is_read_with_its_name_algorithm_and_secret(tmp_path: Path, text: str, algorithm: str) -> None:
    key = read_key(write(tmp_path, text))
    assert ("shop", algorithm, base64.b64decode(SECRET)) == (key.name, key.algorithm, key.secret.raw)
    assert key.for_dnspython().secret == key.secret.raw


def test_the_output_of_keymgr_is_read(tmp_path: Path) -> None:
    keymgr = shutil.which("keymgr", path=os.environ["PATH"] + ":/usr/sbin")
    assert keymgr is not None, "keymgr is not installed: apt-get install knot"
    made = subprocess.run([keymgr, "-t", "shop.", "hmac-sha256"], capture_output=True, check=True, cwd=tmp_path)
    key = read_key(write(tmp_path, made.stdout))
    assert (key.name, key.algorithm) == ("shop", "hmac-sha256")


@pytest.mark.parametrize("many", [BIND + BIND.replace("shop", "other"), KNOT + KNOT.replace("shop", "other")])
def test_of_several_keys_the_first_or_the_named_is_taken(tmp_path: Path, many: str) -> None:
    path = write(tmp_path, many)
    assert read_key(path).name == "shop"
    assert read_key(path, "OTHER.").name == "other"
    with pytest.raises(KeyUnreadable, match="holds no key third; it holds shop, other"):
        read_key(path, "third")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602])
def test_a_file_that_others_may_open_is_refused_with_the_command_that_helps(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path, BIND, mode)
    with pytest.raises(KeyUnreadable, match=f"chmod 600 {path}"):
        read_key(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no TSIG key"),
        ("hello\n", "holds no TSIG key"),
        (BIND.replace("sha256", "sha999"), "known are hmac-sha256"),
        (BIND.replace(SECRET, SECRET[:-3]), "is not base64"),
        (BIND.replace(SECRET, ""), "has no secret"),
        (BIND.replace("shop.", ""), "without a usable name"),
        (BIND.replace("shop.", "a..b"), "without a usable name"),
        (KNOT.replace(SECRET, "%" + SECRET), "is not base64"),
        (b"\xff\xfe\x00", "is not text"),
        ("#" * 70_000, "larger than"),
    ],
)
def test_a_bad_file_is_refused_with_what_is_wrong_and_never_with_the_secret(
    tmp_path: Path, text: str | bytes, says: str
) -> None:
    with pytest.raises(KeyUnreadable, match=says) as refused:
        read_key(write(tmp_path, text))
    assert SECRET[:6] not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_missing_file_and_a_folder_are_said_to_be_that(tmp_path: Path) -> None:
    with pytest.raises(KeyUnreadable, match="No such file"):
        read_key(tmp_path / "none.key")
    with pytest.raises(KeyUnreadable, match="directory"):
        read_key(tmp_path)


def test_a_secret_shows_itself_nowhere(tmp_path: Path) -> None:
    key = read_key(write(tmp_path, BIND))
    for shown in (repr(key), str(key), f"{key.secret}", repr(key.secret)):
        assert SECRET[:6] not in shown
        assert repr(base64.b64decode(SECRET))[2:10] not in shown
