"""A ledger in memory for contract tests: genesis, blocks of one transaction, fake signatures.

After each transaction the invariants have been checked by `execute`; `audit` walks everything. A
ticket's signature is here a hash of signer and terms, since checking signatures is the node's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from contracts.catalog import CONTRACTS
from contracts.kernel import registry
from contracts.kernel.context import BlockInfo, Tickets
from contracts.kernel.contract import Contract
from contracts.kernel.registry import GenesisParameters, Result, Viewer
from contracts.kernel.state import Overlay

DAY_MS = 86_400_000
START_MS = 1_800_000_000_000
FAR_MS = START_MS + 10_000 * DAY_MS

CLASSES = [
    {"name": "named", "asset": "CNY", "named": True, "face_max": 500_000},
    {"name": "plain", "asset": "CNY", "named": False, "face_max": 100_000},
    {
        "name": "gift",
        "asset": "CNY",
        "named": False,
        "face_max": 100_000,
        "min_validity_ms": 1_096 * DAY_MS,
    },
    {"name": "open", "asset": "CNY", "named": True},
    {"name": "usd", "asset": "USD", "named": True},
]


class Memory:
    """The state as a mapping."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, bytes], bytes] = {}

    def get(self, table: str, key: bytes) -> bytes | None:
        return self.records.get((table, key))

    def scan(
        self, table: str, prefix: bytes, after: bytes | None, limit: int
    ) -> list[tuple[bytes, bytes]]:
        found = sorted(
            (key, value)
            for (name, key), value in self.records.items()
            if name == table and key.startswith(prefix) and (after is None or key > after)
        )
        return found[:limit]

    def apply(self, writes: Mapping[tuple[str, bytes], bytes | None]) -> None:
        for place, value in writes.items():
            if value is None:
                self.records.pop(place, None)
            else:
                self.records[place] = value


class Prepared(msgspec.Struct, frozen=True):
    """A validated call."""

    contract: str
    action: str
    args: Any
    sealed: bool


def key_of(name: str) -> bytes:
    """The public key of a person in a test, 33 bytes."""
    return b"\x02" + hashlib.sha256(name.encode()).digest()


def id_of(name: str) -> bytes:
    """A 16-byte id."""
    return hashlib.sha256(b"id/" + name.encode()).digest()[:16]


def root_of(height: int) -> bytes:
    """What stands for the state root after a height, 32 bytes."""
    return hashlib.sha256(b"root" + height.to_bytes(8, "big")).digest()


def signature_of(signer: bytes, contract: str, action: str, terms: Mapping[str, Any]) -> bytes:
    """What stands for a signature, 64 bytes."""
    payload = signer + contract.encode() + action.encode() + repr(sorted(terms.items())).encode()
    return hashlib.sha512(payload).digest()


class World:
    """A network of one, with a bank, a regulator, a merchant, a bookkeeper and an administrator."""

    def __init__(
        self,
        classes: list[dict[str, Any]] | None = None,
        allow_clear: bool = True,
        time_scale: int = 1,
        validators: int = 4,
        more_than: int = 2,
        contracts: Mapping[str, Contract] = CONTRACTS,
        policy: dict[str, Any] | None = None,
        others: Mapping[str, dict[str, Any]] | None = None,
    ) -> None:
        """`others` are the parameters of contracts besides prepaid."""
        self.contracts = contracts
        staff = ("bank", "regulator", "merchant", "bookkeeper", "administrator", "operator")
        nodes = [f"node{index}" for index in range(validators)]
        self.time_ms = START_MS
        self.height = 0
        self.time_scale = time_scale
        self.memory = Memory()
        self.last = Result("OK", {}, (), ())
        self.proposals = 0
        parameters = {
            "allow_clear": allow_clear,
            "classes": classes or CLASSES,
            "policy": policy or {},
        }
        self.memory.apply(
            registry.genesis_writes(
                self.contracts,
                GenesisParameters(
                    validators=tuple(key_of(name) for name in nodes),
                    confirmations_more_than=more_than,
                    identities=(
                        *((name, key_of(name), (name,)) for name in staff),
                        ("other bank", key_of("other bank"), ("bank",)),
                        ("other merchant", key_of("other merchant"), ("merchant",)),
                        *(
                            (f"second {role}", key_of(f"second {role}"), (role,))
                            for role in ("administrator", "operator", "regulator")
                        ),
                    ),
                    assets=(("CNY", 2), ("USD", 2)),
                    contracts={"prepaid": parameters, **(others or {})},
                    epoch=(1, key_of("epoch 1")),
                    nodes=tuple(
                        (key_of(name), name, f"{name}:1", id_of(name) * 2) for name in nodes
                    ),
                ),
            )
        )

    def key(self, name: str) -> bytes:
        """The public key of a person of this network."""
        return key_of(name)

    def advance(self, duration_ms: int) -> World:
        """Let time pass."""
        self.time_ms += duration_ms
        return self

    def send(
        self,
        sender: str,
        *calls: tuple[str, dict[str, Any]],
        contract: str = "prepaid",
        sealed: bool = True,
    ) -> Result:
        """One transaction in a block of its own; rejected ones leave the state as it was."""
        try:
            prepared = [
                Prepared(
                    contract,
                    action,
                    registry.validate(self.contracts, contract, action, args),
                    sealed,
                )
                for action, args in calls
            ]
        except registry.Rejected as rejected:
            self.last = Result(rejected.code, rejected.details, (), ())
            return self.last
        self.height += 1
        self.time_ms += 1
        overlay = Overlay(self.memory)
        registry.begin_block(overlay, self.height, root_of(self.height - 1), 0)
        before = len(overlay.writes)
        block = BlockInfo(self.height, self.time_ms, self.time_scale)
        transaction_id = hashlib.sha256(self.height.to_bytes(8, "big")).digest()
        self.last = registry.execute(
            self.contracts, overlay, block, key_of(sender), transaction_id, prepared, TICKETS
        )
        assert (self.last.code == "OK") or len(overlay.writes) == before
        self.memory.apply(overlay.writes)
        return self.last

    def do(self, sender: str, action: str, *, contract: str = "prepaid", **args: Any) -> str:
        """One call, sealed; the receipt's code. `class_` stands for `class`."""
        if "class_" in args:
            args["class"] = args.pop("class_")
        return self.send(sender, (action, args), contract=contract).code

    def by_two(self, action: str, **args: Any) -> str:
        """A governed change that one regulator proposes and the other approves."""
        self.proposals += 1
        proposal = id_of(f"proposal {self.proposals}")
        code = self.do("regulator", action, proposal=proposal, reason="as decided", **args)
        if code != "OK":
            return code
        return self.do("second regulator", "approve", contract="kernel", proposal=proposal)

    def ticket(self, signer: str, action: str, **terms: Any) -> dict[str, Any]:
        """The arguments of a call with `signer`'s consent."""
        if "class_" in terms:
            terms["class"] = terms.pop("class_")
        terms = {"ticket_until": FAR_MS, **terms}
        return {**terms, "ticket": signature_of(key_of(signer), "prepaid", action, terms)}

    def ask(self, viewer: str | None, query: str, contract: str = "prepaid", **args: Any) -> Any:
        """A query's answer for a viewer; raises `Rejected`."""
        asking = Viewer(None, frozenset())
        if viewer is not None:
            asking = registry.viewer_of(self.memory, key_of(viewer))
        block = BlockInfo(self.height, self.time_ms, self.time_scale)
        return registry.query(self.contracts, self.memory, block, asking, contract, query, args)

    def violations(self) -> list[str]:
        """Everything that the audit of the whole state finds wrong."""
        audits = registry.audit(self.contracts, self.memory)
        return [text for audit in audits.values() for text in audit.violations]

    def open_shop(self, class_: str = "named", merchant: str = "gym", **custody: Any) -> bytes:
        """A filed and approved merchant; its id. `custody` is a kind and its ratio."""
        shop = id_of(merchant)
        owner = "merchant" if merchant == "gym" else "other merchant"
        filed = self.do(
            owner, "file_merchant", merchant=shop, name=merchant, custodian=self.key("bank")
        )
        assert filed == "OK", self.last
        approved = self.do("regulator", "approve", merchant=shop, class_=class_, **custody)
        assert approved == "OK", self.last
        return shop

    def opening(
        self,
        card: str,
        holder: str,
        paid: int,
        bonus: int = 0,
        class_: str = "named",
        merchant: str = "gym",
    ) -> dict[str, Any]:
        """The arguments of an opening with the holder's ticket."""
        return self.ticket(
            holder,
            "open_card",
            card=id_of(card),
            merchant=id_of(merchant),
            holder_pub=self.key(holder),
            class_=class_,
            paid=paid,
            bonus=bonus,
        )

    def open_card(self, card: str, holder: str, paid: int, bonus: int = 0, **more: Any) -> str:
        """The bank opens a card; the receipt's code."""
        return self.send(
            "bank", ("open_card", self.opening(card, holder, paid, bonus, **more))
        ).code

    def top_up(self, card: str, holder: str, paid: int, bonus: int = 0, order: str = "") -> str:
        """The bank adds a lot with the holder's consent; the receipt's code."""
        terms = {"card": id_of(card), "order": id_of(order or f"order {self.height}")}
        args = self.ticket(holder, "top_up", **terms, paid=paid, bonus=bonus)
        return self.send("bank", ("top_up", args)).code

    def consume(self, sender: str, card: str, amt: int, seq: int) -> str:
        """A visit without a ticket; the receipt's code."""
        return self.do(sender, "consume", card=id_of(card), amt=amt, seq=seq)


def _verify(
    signer: bytes, contract: str, action: str, terms: Mapping[str, Any], signature: bytes
) -> bool:
    return signature == signature_of(signer, contract, action, terms)


def _verify_browser(
    signer: bytes, contract: str, action: str, terms: Mapping[str, Any], signature: bytes
) -> bool:
    return _verify(signer, contract, f"{action} in a browser", terms, signature)


TICKETS = Tickets(_verify, _verify_browser)
