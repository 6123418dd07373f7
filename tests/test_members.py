"""Founding over several hosts: what each side writes, and every fault as one line."""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node import code_hashes
from node.config import NetworkConfig
from node.folder import load_node
from node.genesis import create_network
from node.members import NewNode, init_member, join_network
from node.net import tls
from node.protocol.ceremony import Admission, Member
from node.protocol.errors import Misconfigured
from node.protocol.genesis import Genesis
from node.protocol.keys import PrivateKey
from node.protocol.keystore import SCRYPT_N_DEV
from node.protocol.password import PASSWORD_VARIABLE
from tests.test_config import SHIPPED

NOW_MS = 1_790_000_000_000
NOW = datetime.datetime.fromtimestamp(NOW_MS / 1000, datetime.UTC)
NAMES = ("bank-a", "bank-b", "regulator", "operator")
IDENTITIES = {
    name: PrivateKey.generate().public_key.hex()
    for name in NetworkConfig.load(SHIPPED).roles_by_name
}


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("node.members.SCRYPT_N", SCRYPT_N_DEV)
        patch.setattr("node.genesis.SCRYPT_N", SCRYPT_N_DEV)
        patch.delenv(PASSWORD_VARIABLE, raising=False)
        yield


def config(**changes: Any) -> NetworkConfig:
    """A description without validators, of a network that is not dev."""
    content = {"dev": False, "validators": (), "identities": IDENTITIES, **changes}
    return NetworkConfig.load(SHIPPED).model_copy(update=content)


def password_of(name: str) -> bytes:
    """Each organisation has its own."""
    return f"the password of {name}".encode()


def init(directory: Path, name: str, place: int, **changes: str) -> Path:
    """Begin a node in `directory`: its member file."""
    where = {"address": f"10.0.0.{place}:27101", "http": "127.0.0.1:28101"}
    where["http_url"] = f"https://{name}.example"
    return init_member(directory, NewNode.make(name, **(where | changes)), password_of(name))


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each organisation with its node's keys, and the founder's with the network."""
    base = tmp_path_factory.mktemp("hosts")
    papers = [init(base / name, name, place) for place, name in enumerate(NAMES, 1)]
    members = [Member.load(path) for path in papers]
    create_network(config(), base / "founder", b"the founder's password", NOW_MS, members)
    return base


@pytest.fixture
def copy(hosts: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(hosts, tmp_path / "hosts"))


def admission(base: Path, name: str) -> Path:
    """Where the founder wrote an admission."""
    return base / "founder" / f"{name}.admission.json"


def join(base: Path, name: str, paper: str = "") -> Genesis:
    """An organisation joins with its admission, or with another's."""
    return join_network(base / name, admission(base, paper or name), password_of(name))


def error_of(work: Callable[[], object]) -> Misconfigured:
    """The one line that the work ends in."""
    with pytest.raises(Misconfigured) as error:
        work()
    assert "\n" not in error.value.message
    return error.value


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Alter a JSON file as someone on its way might."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_all_join_and_every_node_opens(copy: Path) -> None:
    hashes = {join(copy, name).hash for name in NAMES}
    assert hashes == {Genesis.load(copy / "founder/genesis.json").hash}
    secrets = set()
    for place, name in enumerate(NAMES, 1):
        settings = load_node(copy / name / "nodes" / name, password_of(name))
        assert settings.genesis.validators[place - 1].public_key == settings.key.public_key.hex()
        assert settings.listen == (f"10.0.0.{place}", 27101)
        assert settings.http == ("127.0.0.1", 28101)
        tls.server_context(settings.tls)
        secrets.add(settings.secret.epochs[1])
        endpoints = json.loads((copy / name / "network.json").read_text())["endpoints"]
        assert [one["http_url"] for one in endpoints] == [f"https://{one}.example" for one in NAMES]
        for path in (copy / name).rglob("*"):
            assert path.stat().st_mode & 0o077 == 0, path
    assert len(secrets) == 1


def test_no_private_key_leaves_its_host(hosts: Path) -> None:
    assert not (hosts / "founder/nodes").exists()
    assert not (hosts / "founder/keys").exists()
    founders = b"".join(path.read_bytes() for path in (hosts / "founder").rglob("*.json"))
    for name in NAMES:
        paper = (hosts / name / f"{name}.member.json").read_bytes()
        node = hosts / name / "nodes" / name
        tls_key = (node / "tls.key").read_bytes()
        assert b"PRIVATE" in tls_key
        assert b"PRIVATE" not in paper + founders
        ciphertext = json.loads((node / "node.key.json").read_text())["ciphertext"].encode()
        assert ciphertext not in paper + founders


def test_joining_again_changes_nothing(copy: Path) -> None:
    join(copy, "bank-a")
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    join(copy, "bank-a")
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_an_interrupted_join_is_completed(copy: Path) -> None:
    join(copy, "bank-a")
    (copy / "bank-a/genesis.json").unlink()
    (copy / "bank-a/nodes/bank-a/ca.crt").unlink()
    join(copy, "bank-a")
    assert load_node(copy / "bank-a/nodes/bank-a", password_of("bank-a")).name == "bank-a"


def test_the_founder_may_be_a_member_in_the_same_folder(tmp_path: Path) -> None:
    papers = [init(tmp_path, "bank-a", 1), init(tmp_path / "b", "bank-b", 2)]
    members = [Member.load(path) for path in papers]
    create_network(
        config(confirmations_more_than=0), tmp_path, password_of("bank-a"), NOW_MS, members
    )
    join_network(tmp_path, tmp_path / "bank-a.admission.json", password_of("bank-a"))
    assert load_node(tmp_path / "nodes/bank-a", password_of("bank-a")).name == "bank-a"


def test_a_node_is_begun_once(copy: Path) -> None:
    assert error_of(lambda: init(copy / "bank-a", "bank-a", 1)).code == "EXISTS"
    shutil.rmtree(copy / "bank-a/nodes")
    assert error_of(lambda: init(copy / "bank-a", "bank-a", 1)).code == "EXISTS"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("address", "10.0.0.1"),
        ("address", "10.0.0.1:0"),
        ("address", "10.0.0.1:65536"),
        ("address", "0.0.0.0:27101"),
        ("http", "127.0.0.1"),
        ("http", "127.0.0.1:0"),
        ("http_url", "ftp://bank-a.example"),
        ("http_url", "https://bank-a.example/api"),
        ("listen", "27101"),
    ],
)
def test_addresses_that_are_none(tmp_path: Path, field: str, value: str) -> None:
    error = error_of(lambda: init(tmp_path, "bank-a", 1, **{field: value}))
    assert error.code == "BAD_CONFIG"
    assert field in error.message
    assert not list(tmp_path.iterdir())


def test_where_a_node_listens_may_differ_from_where_it_is_dialed(tmp_path: Path) -> None:
    node = NewNode.make("a", "a.example:27101", "0.0.0.0:28101", listen="0.0.0.0:9000")
    assert node.member.address == "a.example:27101"
    assert node.config.listen == "0.0.0.0:9000"
    assert node.config.http == "0.0.0.0:28101"


def test_people_are_told_the_form_and_not_the_pattern(tmp_path: Path) -> None:
    assert error_of(lambda: init(tmp_path, "a", 1, address="x")).message.endswith("HOST:PORT")
    for error in (
        error_of(lambda: init(tmp_path, "a", 1, http_url="x")),
        error_of(lambda: init(tmp_path, "A", 1)),
    ):
        assert "must be " in error.message
        assert "^" not in error.message


@pytest.mark.parametrize("name", ["Bank", "../x", "", "a" * 33, "a b"])
def test_names_that_are_none(tmp_path: Path, name: str) -> None:
    assert error_of(lambda: init(tmp_path, name, 1)).code == "BAD_CONFIG"


@pytest.mark.parametrize("field", ["name", "public_key", "tls_public_key", "address", "http_url"])
def test_an_altered_member_file_is_noticed(copy: Path, field: str) -> None:
    path, other = (copy / name / f"{name}.member.json" for name in NAMES[:2])
    edit(path, lambda content: content.update({field: json.loads(other.read_text())[field]}))
    assert error_of(lambda: Member.load(path)).code == "ALTERED"


def test_files_that_are_no_member(copy: Path) -> None:
    path = copy / "bank-a/bank-a.member.json"
    for text in ("", "[]", "{}", "x" * 10_000, '{"version": 1, "name": 5}'):
        path.write_text(text)
        assert error_of(lambda: Member.load(path)).code == "BAD_CONFIG"
    edit_ = admission(copy, "bank-a")
    assert error_of(lambda: Member.load(edit_)).code == "BAD_CONFIG"
    assert error_of(lambda: Member.load(copy / "none")).code == "NO_FILE"


def create(base: Path, members: list[Member], **changes: Any) -> Callable[[], object]:
    """Founding once more, elsewhere."""
    return lambda: create_network(config(**changes), base / "again", b"password", NOW_MS, members)


def test_a_founder_refuses_what_does_not_fit(copy: Path, tmp_path: Path) -> None:
    members = [Member.load(copy / name / f"{name}.member.json") for name in NAMES]
    twice = error_of(create(tmp_path, [*members, members[0]]))
    assert twice.code == "DUPLICATE_MEMBER"
    assert "bank-a and bank-a" in twice.message
    for field, value in [
        ("name", "bank-b"),
        ("address", "10.0.0.2:27101"),
        ("http_url", "https://bank-b.example"),
    ]:
        name = value if field == "name" else "fifth"
        others = {} if field == "name" else {field: value}
        fifth = Member.load(init(tmp_path / field, name, 5, **others))
        error = error_of(create(tmp_path, [*members, fifth]))
        assert error.code == "DUPLICATE_MEMBER"
        assert "bank-b" in error.message
        assert field in error.message
    few = error_of(create(tmp_path, members[:2]))
    assert few.code == "TOO_FEW_MEMBERS"
    assert "at least 3" in few.message
    nobody = error_of(create(tmp_path, members, identities={}))
    assert nobody.code == "NO_IDENTITY_KEY"
    assert "has a role and no key; ask for the line that `groat key export" in nobody.message
    assert not (tmp_path / "again").exists()


def test_a_tls_key_that_is_none(hosts: Path, tmp_path: Path) -> None:
    members = [Member.load(hosts / name / f"{name}.member.json") for name in NAMES]
    for bad in (b"", b"no key", bytes.fromhex(members[0].tls_public_key)[:-1]):
        fifth = Member.make(PrivateKey.generate(), "x", bad, "10.0.0.9:1", "http://10.0.0.9:2")
        assert error_of(create(tmp_path, [*members, fifth])).code == "BAD_TLS_KEY"


def test_neither_validators_nor_members(tmp_path: Path) -> None:
    error = error_of(lambda: create_network(config(), tmp_path / "x", b"password", NOW_MS))
    assert error.code == "BAD_CONFIG"
    assert "--member" in error.message


def test_a_network_is_founded_once(copy: Path) -> None:
    members = [Member.load(copy / name / f"{name}.member.json") for name in NAMES]
    for gone in (None, "genesis.json"):
        if gone:
            (copy / "founder" / gone).unlink()
        error = error_of(
            lambda: create_network(config(), copy / "founder", b"password", NOW_MS, members)
        )
        assert error.code == "NETWORK_EXISTS"


def test_a_wrong_password(copy: Path) -> None:
    error = error_of(
        lambda: join_network(copy / "bank-a", admission(copy, "bank-a"), b"another password")
    )
    assert error.code == "BAD_PASSWORD"
    assert not (copy / "bank-a/genesis.json").exists()


def test_an_admission_of_another(copy: Path) -> None:
    assert error_of(lambda: join(copy, "bank-a", "bank-b")).code == "NOT_BEGUN"
    # Begun anew after the member file was given away: other keys under the same name.
    shutil.rmtree(copy / "bank-a")
    init(copy / "bank-a", "bank-a", 1)
    error = error_of(lambda: join(copy, "bank-a"))
    assert error.code == "WRONG_ADMISSION"
    assert "bank-a.member.json" in error.message


def test_an_admission_to_another_network(copy: Path, tmp_path: Path) -> None:
    join(copy, "bank-a")
    before = (copy / "bank-a/genesis.json").read_bytes()
    members = [Member.load(copy / name / f"{name}.member.json") for name in NAMES]
    create(tmp_path, members)()
    other = tmp_path / "again/bank-a.admission.json"
    error = error_of(lambda: join_network(copy / "bank-a", other, password_of("bank-a")))
    assert error.code == "EXISTS"
    assert (copy / "bank-a/genesis.json").read_bytes() == before


def _swap(content: dict[str, Any], other: dict[str, Any], *fields: str) -> None:
    content.update({field: other[field] for field in fields})


ALTERATIONS: dict[str, tuple[Callable[[dict[str, Any], dict[str, Any]], object], str]] = {
    "another's name": (lambda it, _: it.update(name="stranger"), "ALTERED"),
    "a member less": (lambda it, _: it["members"].pop(), "ALTERED"),
    "members in another order": (lambda it, _: it["members"].reverse(), "ALTERED"),
    "a member's address": (lambda it, _: it["members"][1].update(address="10.9.9.9:1"), "ALTERED"),
    "a member's url": (
        lambda it, _: it["members"][1].update(http_url="https://mallory.example"),
        "ALTERED",
    ),
    "an address in genesis": (
        lambda it, _: it["genesis"]["validators"][0].update(address="10.9.9.9:1"),
        "ALTERED",
    ),
    "another interface": (lambda it, _: it["interface"].pop("prepaid"), "ALTERED"),
    "an interface with a float": (lambda it, _: it["interface"].update(x=1.5), "ALTERED"),
    "another's certificate": (
        lambda it, other: _swap(it, other, "certificate"),
        "WRONG_CERTIFICATE",
    ),
    "a certificate that is none": (lambda it, _: it.update(certificate="x"), "BAD_TLS_FILES"),
    "another fingerprint": (
        lambda it, _: it["genesis"]["validators"][0].update(tls_fingerprint="00" * 32),
        "WRONG_CERTIFICATE",
    ),
    "an unknown contract": (
        lambda it, _: it["genesis"]["contracts"].update(prepaid="00" * 32),
        "UNKNOWN_CONTRACT_HASH",
    ),
    "a wrap that does not open": (
        lambda it, _: it["genesis"]["epoch"]["wraps"].update(
            dict.fromkeys(it["genesis"]["epoch"]["wraps"], "00" * 100)
        ),
        "BAD_EPOCH_WRAP",
    ),
    "no genesis": (lambda it, _: it.pop("genesis"), "BAD_CONFIG"),
    "a setting more": (lambda it, _: it.update(colour="red"), "BAD_CONFIG"),
}


@pytest.mark.parametrize(("change", "code"), ALTERATIONS.values(), ids=ALTERATIONS.keys())
def test_an_altered_admission_is_refused_before_anything_is_written(
    copy: Path, change: Callable[[dict[str, Any], dict[str, Any]], object], code: str
) -> None:
    other = json.loads(admission(copy, "bank-b").read_text())
    edit(admission(copy, "bank-a"), lambda content: change(content, other))
    assert error_of(lambda: join(copy, "bank-a")).code == code
    assert not (copy / "bank-a/genesis.json").exists()
    assert not (copy / "bank-a/nodes/bank-a/tls.crt").exists()


def test_an_authority_of_ones_own(copy: Path) -> None:
    mine = tls.make_authority("groat-dev", NOW)
    edit(
        admission(copy, "bank-a"),
        lambda content: content.update(authority=mine.certificate.decode()),
    )
    assert error_of(lambda: join(copy, "bank-a")).code == "WRONG_CERTIFICATE"


def test_contracts_of_another_version(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = code_hashes.contract_sources
    monkeypatch.setattr(
        code_hashes, "contract_sources", lambda name: sources(name) | {f"{name}/x.py": "x = 1\n"}
    )
    assert error_of(lambda: join(copy, "bank-a")).code == "UNKNOWN_CONTRACT_HASH"


def test_an_admission_reads_back_as_it_was_written(hosts: Path) -> None:
    text = admission(hosts, "bank-a").read_text()
    assert Admission.load(admission(hosts, "bank-a")).model_dump_json(indent=1) + "\n" == text
