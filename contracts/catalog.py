"""The one list of contracts that this program can run."""

from __future__ import annotations

from contracts.deposits.contract import DEPOSITS_CONTRACT
from contracts.exchange.contract import EXCHANGE
from contracts.kernel.contract import Contract
from contracts.kernel.registry import KERNEL
from contracts.payments.contract import PAYMENTS
from contracts.prepaid.contract import PREPAID

CONTRACTS: dict[str, Contract] = {
    contract.name: contract for contract in (KERNEL, PREPAID, EXCHANGE, PAYMENTS, DEPOSITS_CONTRACT)
}
