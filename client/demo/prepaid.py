"""The story of a gym card under supervision, and of two buyers who think better of it.

Alice pays ¥3,000, gets ¥1,000 on top, and comes twelve times. The gym misses its filings: payouts
stop, visit 13 is held, the gym is wound up, and what she has not used comes back. Bob leaves on day
six, Carol on day eight is too late; for that the network must be accelerated. May be played again.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from client import statement
from client.demo.stage import Fields, Stage, cast, new_id
from client.outcomes import Json

CONTRACT = "prepaid"
CAST = {
    "gym": "merchant",
    "bank": "bank",
    "regulator": "regulator",
    "inspector": "regulator",
    "alice": "holder",
    "bob": "holder",
    "carol": "holder",
}
CLASS = "cny-named"
PAID, BONUS, VISIT = 300_000, 100_000, 10_000
DAY_MS = 86_400_000
UTC8_MS = 28_800_000
LAST_DAY = 8
# Eight days must pass in a time that somebody will wait for.
PATIENCE_MS = 180_000
SCALE = 14_400


async def play(stage: Stage) -> None:
    """All of it; raises `StoryFailed` at the first wrong figure."""
    cast(stage.folder, CAST)
    story = _Story(stage)
    await story.explain_the_clock()
    await story.admit_the_gym()
    await story.sell_alices_card()
    await story.twelve_visits()
    await story.stop_payouts()
    await story.visit_thirteen()
    await story.look_as_the_regulator()
    await story.wind_up_the_gym()
    await story.take_the_statement_home()
    if story.days_pass:
        await story.sell_two_cards_of_the_pool()
        await story.bob_on_day_six()
        await story.carol_on_day_eight()


class _Story:
    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._scale = stage.folder.genesis.time_scale
        self._gym, self._pool = new_id(), new_id()
        self._card, self._bobs, self._carols = new_id(), new_id(), new_id()
        self._bought_on = 0
        self.days_pass = LAST_DAY * DAY_MS // self._scale <= PATIENCE_MS

    # ---- the scenes

    async def explain_the_clock(self) -> None:
        """Policy counts days of UTC+8; here they may be short."""
        seconds = DAY_MS / self._scale / 1000
        if self._scale > 1:
            self._stage.say(
                f"This is a dev network with time_scale {self._scale}: all that policy counts in\n"
                f"days passes so many times as fast. A day takes {seconds:g} seconds here."
            )
        if not self.days_pass:
            self._stage.say(
                "Two buyers who quit on day six and day eight are left out: days are too long on\n"
                "this network. On an accelerated one, with ports of its own, all takes a minute:\n"
                f"    groat --dir /tmp/fast up --time-scale {SCALE} --ports-from 27300\n"
                "    groat --dir /tmp/fast demo prepaid"
            )

    async def admit_the_gym(self) -> None:
        """Filing, approval, custody."""
        self._stage.say(
            "The gym files with its bank, and the regulator approves it for named cards of up to\n"
            "¥5,000. All that its customers pay is kept in escrow: 10,000 basis points of custody."
        )
        await self._admit(self._gym, "Gym")

    async def sell_alices_card(self) -> None:
        """The bank opens it with her ticket."""
        self._stage.say("Alice pays ¥3,000 and gets ¥1,000 on top; she signs that she agrees.")
        details = await self._open(self._card, self._gym, "alice")
        self._stage.expect("on the card, fen", details["remaining"], PAID + BONUS)

    async def twelve_visits(self) -> None:
        """¥100 each; ¥75 of it was paid for."""
        self._stage.say(
            "Twelve visits of ¥100. Three quarters of each were paid for, one is bonus."
        )
        for seq in range(1, 13):
            await self._visit(seq)
        card = await self._ask("card", "alice", {"card": self._card})
        self._stage.expect("left on the card", card["remaining"], 280_000)
        gym = await self._ask("merchant", "gym", {"merchant": self._gym})
        self._stage.expect("the gym has received", gym["earnings"], 90_000)
        self._stage.expect("still Alice's, in escrow", gym["escrow"], 210_000)

    async def stop_payouts(self) -> None:
        """One regulator at once; a second one makes it last."""
        self._stage.say(
            "The gym misses its filings. One regulator stops payouts at once and says why; the\n"
            "stop would lapse within a day, so a second one ratifies it. Lifting it takes both."
        )
        stop = {"merchant": self._gym, "scope": "PAYOUT"}
        await self._call("freeze", "regulator", {**stop, "reason": "filings missed"})
        await self._call("ratify_freeze", "inspector", stop)

    async def visit_thirteen(self) -> None:
        """Booked, earned, held."""
        self._stage.say("Visit 13 is booked as ever, but what the gym earns by it is held.")
        await self._visit(13)
        card = await self._ask("card", "alice", {"card": self._card})
        self._stage.expect("earned in thirteen visits", card["earned"], 97_500)
        self._stage.expect("of that paid out", card["paid_out"], 90_000)
        self._stage.expect("and held", card["held"], 7_500)

    async def look_as_the_regulator(self) -> None:
        """Every merchant, with its custody."""
        self._stage.say("The regulator sees every merchant: debts, custody, velocity, alerts.")
        self._stage.command("query", CONTRACT, "merchants", "--key", "regulator")
        gym = await self._stage.look(CONTRACT, "merchant", "regulator", {"merchant": self._gym})
        self._stage.expect("owed to the gym's customers", gym["outstanding"], 202_500)
        self._stage.expect("custody, basis points", gym["custody_ratio_bps"], 10_000)

    async def wind_up_the_gym(self) -> None:
        """3,000 − 975 back to Alice, 75 to the gym."""
        self._stage.say("The gym closes its doors. The regulator winds it up: a queue of refunds.")
        end = {"merchant": self._gym, "reason": "closed its doors"}
        await self._call("wind_up", "regulator", end)
        queue = await self._ask("refund_queue", "regulator", {"merchant": self._gym})
        self._stage.expect("first in the queue, to get", queue["items"][0]["refund"], 202_500)
        details = await self._call("settle_wind_up", "regulator", {"merchant": self._gym})
        self._stage.expect("back to Alice: 300,000 − 97,500", details["refunded"], 202_500)
        self._stage.expect("held earnings, to the gym", details["released"], 7_500)
        gym = await self._ask("merchant", "regulator", {"merchant": self._gym})
        self._stage.expect("left in escrow", gym["escrow"], 0)
        self._stage.expect("the gym has received", gym["earnings"], 97_500)
        self._stage.expect("it is", gym["state"], "WOUND_UP")

    async def take_the_statement_home(self) -> None:
        """Exported with its proof, and checked from the file alone."""
        self._stage.say(
            "Alice exports her statement. Anyone who has the genesis file can check it, offline."
        )
        stage = self._stage
        card = bytes.fromhex(self._card)
        stage.command(
            "prepaid", "statement", "--card", self._card, "--key", "alice", "--export", "gym.json"
        )
        found = await statement.fetch(stage.network, stage.folder, card, stage.key("alice"))
        stage.command("prepaid", "verify", "gym.json", "--genesis", "genesis.json")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "gym.json"
            statement.export(found, stage.folder, path)
            checked = await statement.verify(path, stage.folder.genesis)
        stage.expect("lines: opening, 13 visits, refund", len(checked.lines), 15)
        stage.expect("refunded, by the proof", checked.card["refunded"], 202_500)

    async def sell_two_cards_of_the_pool(self) -> None:
        """Both on the same day."""
        self._stage.say("Bob and Carol each buy a card of the pool: ¥3,000 and ¥1,000 on top.")
        await self._admit(self._pool, "Pool")
        for card, holder in ((self._bobs, "bob"), (self._carols, "carol")):
            await self._open(card, self._pool, holder)
        found = await self._stage.look(CONTRACT, "card", "carol", {"card": self._carols})
        paid_at_ms = int(found["lots"][0]["paid_at_ms"])
        self._bought_on = (paid_at_ms + UTC8_MS // self._scale) // (DAY_MS // self._scale)

    async def bob_on_day_six(self) -> None:
        """No reason needed."""
        self._stage.say("Bob thinks better of it on day six. Seven days long he needs no reason.")
        await self._until_day(6)
        quit_ = {"card": self._bobs, "reason": "COOLING_OFF"}
        details = await self._call("refund", "bob", quit_)
        self._stage.expect("back to Bob, all of it", details["refunded"], PAID)

    async def carol_on_day_eight(self) -> None:
        """Too late for that, though not for an ordinary refund."""
        self._stage.say("Carol comes with the same on day eight.")
        await self._until_day(LAST_DAY)
        quit_ = {"card": self._carols, "reason": "COOLING_OFF"}
        await self._stage.refused("COOLING_OFF_PASSED", CONTRACT, "refund", "carol", quit_)
        card = await self._ask("card", "carol", {"card": self._carols})
        self._stage.expect("her card is as it was", card["remaining"], PAID + BONUS)

    # ---- the craft

    async def _admit(self, merchant: str, name: str) -> None:
        filing = {"merchant": merchant, "name": name, "custodian": "@bank"}
        await self._call("file_merchant", "gym", filing)
        await self._call("approve", "regulator", {"merchant": merchant, "class": CLASS})

    async def _open(self, card: str, merchant: str, holder: str) -> Json:
        fields = {
            "card": card,
            "merchant": merchant,
            "holder_pub": f"@{holder}",
            "class": CLASS,
            "paid": str(PAID),
            "bonus": str(BONUS),
        }
        return await self._call("open_card", "bank", fields, ticket_from=holder)

    async def _visit(self, seq: int) -> None:
        fields = {"card": self._card, "amt": str(VISIT), "seq": str(seq)}
        await self._call("consume", "alice", fields)

    async def _until_day(self, day: int) -> None:
        begins_ms = (self._bought_on + day) * (DAY_MS // self._scale) - UTC8_MS // self._scale
        await self._stage.wait_until(begins_ms, f"until day {day} after the purchase")

    async def _call(
        self, action: str, key: str, fields: Fields, ticket_from: str | None = None
    ) -> Json:
        return await self._stage.call(CONTRACT, action, key, fields, ticket_from)

    async def _ask(self, query: str, key: str, fields: Fields) -> Json:
        return await self._stage.ask(CONTRACT, query, key, fields)
