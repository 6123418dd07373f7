"""The `groat` command: assembles the groups; what each does is in its own file."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from client.cli import (
    audit,
    calls,
    chain,
    connector,
    demo,
    doctor,
    exchange,
    headset,
    keys,
    net,
    payments,
    prepaid,
    product,
    status,
    upkeep,
    watch,
)
from client.cli.session import (
    DebugOption,
    DirOption,
    NodeOption,
    OutputOption,
    Session,
    run_safely,
)
from client.errors import EXIT_USAGE

EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="groat",
    help="A permissioned ledger for money-like things. Start with `groat up`.",
    epilog="Exit codes: 0 ok, 1 internal, 2 usage, 3 rejected, 4 pending at the time-out, "
    "5 unreachable, 6 no quorum.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def _options(
    ctx: typer.Context,
    output: OutputOption = None,
    directory: DirOption = None,
    node: NodeOption = None,
    debug: DebugOption = False,
) -> None:
    given = Session(directory=directory, node=node, debug=debug)
    ctx.obj = given if output is None else Session(output, directory, node, debug)


for _module in (
    net,
    upkeep,
    keys,
    calls,
    status,
    chain,
    prepaid,
    exchange,
    headset,
    payments,
    product,
    watch,
    connector,
    demo,
    audit,
    doctor,
):
    _module.register(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # `groat call --field -o` aside, an early look is enough to print usage errors as JSON too.
    session = Session(debug="--debug" in given)
    codes: list[int] = []

    def work() -> None:
        try:
            result = typer.main.get_command(app)(given, prog_name="groat", standalone_mode=False)
            codes.append(result if isinstance(result, int) else 0)
        except typer.TyperException as error:
            context = getattr(error, "ctx", None)
            path = context.command_path if context is not None else "groat"
            session.out.error("USAGE", _describe(error), f"{path} --help")
            codes.append(EXIT_USAGE)
        except typer.Abort:
            codes.append(EXIT_INTERRUPTED)

    code = run_safely(session, work)
    return code or (codes[0] if codes else 0)


def _describe(error: typer.TyperException) -> str:
    describe = getattr(error, "format_message", None)
    return str(error if describe is None else describe())


if __name__ == "__main__":
    sys.exit(main())
