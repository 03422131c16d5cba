"""Keys, local names, and where the server may listen."""

from __future__ import annotations

import pytest

from gaea.app.serving.access import Keys, check_address, check_host_header
from gaea.app.serving.problems import ApiError
from gaea.errors import InputError

ONE, TWO = "a" * 20, "b" * 20


def test_keys_come_from_a_file_and_the_environment(tmp_path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# for the map\n{ONE}\n\n")
    keys = Keys.read(str(file), {"GAEA_SERVER_KEYS": f" {TWO} ,"})
    assert {keys.holder(f"Bearer {ONE}"), keys.holder(f"bearer  {TWO}")} == {"key1", "key2"}
    assert ONE not in repr(keys)
    assert not Keys.read(None, {})
    assert Keys.read(None, {}).holder(None) == "open"


@pytest.mark.parametrize(
    "sent", [None, "", "Bearer", f"Bearer {ONE}x", f"Basic {ONE}", ONE, "Bearer \udcff", "Bearer é"]
)
def test_a_wrong_key_is_401(sent: str | None) -> None:
    with pytest.raises(ApiError) as caught:
        Keys.of([ONE]).holder(sent)
    assert caught.value.status == 401
    assert caught.value.headers() == {"WWW-Authenticate": "Bearer"}
    assert caught.value.body()["error"]["code"] == "invalid_api_key"


def test_every_key_is_compared_and_in_constant_time(monkeypatch) -> None:
    from gaea.app.serving import access

    compared = []
    same = access.hmac.compare_digest
    monkeypatch.setattr(access.hmac, "compare_digest", lambda a, b: compared.append(a) or same(a, b))
    Keys.of([ONE, TWO]).holder(f"Bearer {ONE}")
    assert len(compared) == 2


@pytest.mark.parametrize("keys", [["short"], [ONE, "with a space in it"], ["ü" * 20]])
def test_what_is_no_key(keys: list[str]) -> None:
    with pytest.raises(InputError, match="is no key"):
        Keys.of(keys)


def test_a_file_without_keys(tmp_path) -> None:
    (tmp_path / "empty").write_text("# none\n")
    with pytest.raises(InputError, match="holds no key"):
        Keys.read(str(tmp_path / "empty"), {})
    with pytest.raises(InputError, match="cannot be read"):
        Keys.read(str(tmp_path / "absent"), {})


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.3.2.1"])
def test_the_loopback_needs_no_key(host: str) -> None:
    check_address(host, Keys())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "gaea.example", ""])
def test_anything_else_does(host: str) -> None:
    with pytest.raises(InputError, match="no key is set"):
        check_address(host, Keys())
    check_address(host, Keys.of([ONE]))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST:1"])
def test_local_names_are_answered_to(host: str) -> None:
    check_host_header(host, Keys())


@pytest.mark.parametrize("host", [None, "", "evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[::2]:80"])
def test_other_names_are_not(host: str | None) -> None:
    with pytest.raises(ApiError) as caught:
        check_host_header(host, Keys())
    assert caught.value.status == 403
    check_host_header(host, Keys.of([ONE]))
