"""The one list of contracts that this program can run: each version is a package of its own.

A contract's next version is a copy of its package under another name, such as `prepaid_2`, changed
and listed here behind the one before it. Both stay as long as nodes may have to execute blocks of
both. Which one a height runs, the chain says.
"""

from __future__ import annotations

from contracts.deposits.contract import DEPOSITS_CONTRACT
from contracts.exchange.contract import EXCHANGE
from contracts.kernel.contract import Contract
from contracts.kernel.registry import KERNEL
from contracts.licensing.contract import LICENSING
from contracts.payments.contract import PAYMENTS
from contracts.prepaid.contract import PREPAID

PACKAGES: dict[str, Contract] = {
    "kernel": KERNEL,
    "prepaid": PREPAID,
    "exchange": EXCHANGE,
    "payments": PAYMENTS,
    "licensing": LICENSING,
    "deposits": DEPOSITS_CONTRACT,
}
# The newest version of each.
CONTRACTS: dict[str, Contract] = {contract.name: contract for contract in PACKAGES.values()}
