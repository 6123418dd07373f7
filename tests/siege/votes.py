"""All that the nodes were found to have signed, whenever one lay dead: nobody votes twice.

A vote log keeps the last heights only, so it is read (from a copy) after every kill, and each
reading is held against all earlier ones.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from node.bodies import vote_entry_codec
from node.consensus.recovery import OwnRecord, PrePrepareRecord, ViewChangeRecord, record_codec
from node.folder import load_node
from node.protocol.encoding import encode, sha256
from node.state.level import LevelKeyValue
from node.state.vote_log import VoteLog, open_vote_database
from node.vaults import open_vault

VOTES_FOLDER = "votes"

Place = tuple[str, str, int, int]


class VoteBook:
    """Votes by node, kind, height and view. `faults` says in words who contradicted itself."""

    def __init__(self) -> None:
        self._votes: dict[Place, bytes] = {}
        self.faults: list[str] = []
        self.readings = 0

    def __len__(self) -> int:
        return len(self._votes)

    def read(self, name: str, folder: Path) -> None:
        """Take in the vote log of a node that does not run; a node without one has not voted."""
        if not (folder / VOTES_FOLDER).exists():
            return
        with tempfile.TemporaryDirectory() as copy:
            votes = Path(copy) / VOTES_FOLDER
            shutil.copytree(folder / VOTES_FOLDER, votes)
            database = open_vote_database(votes)
            assert isinstance(database, LevelKeyValue)
            try:
                raws = VoteLog(database, open_vault(load_node(folder).storage_key)).load()
            finally:
                database.close()
        self.readings += 1
        self.note(name, [record_codec.decode(vote_entry_codec.decode(raw).record) for raw in raws])

    def note(self, name: str, records: list[OwnRecord]) -> None:
        """Hold a log, oldest record first, against all that is known of the node."""
        left: dict[int, int] = {}
        for record in records:
            kind, vote = type(record).__name__.removesuffix("Record"), record.vote
            if vote.view < left.get(vote.height, 0):
                self.faults.append(f"{name}: {kind} in view {vote.view} after leaving it {vote}")
            if isinstance(record, ViewChangeRecord):
                left[vote.height] = max(left.get(vote.height, 0), vote.view)
            place, content = (name, kind, vote.height, vote.view), _content(record)
            if self._votes.setdefault(place, content) != content:
                self.faults.append(f"{name} contradicts its {kind} of {vote.height}/{vote.view}")


def _content(record: OwnRecord) -> bytes:
    """What must be the same whenever the same node votes in the same place."""
    if isinstance(record, PrePrepareRecord):
        return sha256(encode(record.vote.header))
    if isinstance(record, ViewChangeRecord):
        return encode([record.vote.prepared_view, record.vote.prepared_block])
    return record.vote.block_id
