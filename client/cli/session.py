"""What all commands share: the global options, one way to run, one way to fail.

`command` turns a function into a command: it adds `-o`, `--dir`, `--node` and `--debug`, hands over
a `Session`, runs coroutines, and turns every expected failure into one line and an exit code.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from client.cli.hints import hint_for
from client.cli.output import Format, Output
from client.errors import EXIT_INTERNAL, exit_code_of
from client.folder import NetworkFolder, directory
from node.protocol.errors import GroatError

if TYPE_CHECKING:
    from client.node_api import NodeApi
    from node.protocol.keys import PrivateKey

OutputOption = Annotated[
    Format | None, typer.Option("--output", "-o", help="How to print data.", show_default=False)
]
DirOption = Annotated[
    Path | None,
    typer.Option("--dir", help="The network's folder.  [default: $GROAT_DIR or ./.groat]"),
]
NodeOption = Annotated[
    str | None,
    typer.Option("--node", help="Ask this node only: its name, number or URL."),
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show where an error arose.")]


@dataclass
class Session:
    """One run of the command line: its global options and what follows from them."""

    form: Format = Format.TEXT
    directory: Path | None = None
    node: str | None = None
    debug: bool = False
    _context: typer.Context | None = field(default=None, repr=False)
    _folder: NetworkFolder | None = field(default=None, repr=False)

    @property
    def out(self) -> Output:
        """Where to print."""
        return Output(self.form)

    @property
    def folder(self) -> NetworkFolder:
        """The network's folder; it need not exist."""
        if self._folder is None:
            self._folder = NetworkFolder(directory(self.directory))
        return self._folder

    @property
    def context(self) -> typer.Context:
        """The command line itself, for commands with free fields."""
        if self._context is None:
            raise AssertionError("no command runs")
        return self._context

    @property
    def urls(self) -> list[str]:
        """The nodes to ask: the one of `--node`, or all."""
        if self.node is None:
            return [endpoint.http_url for endpoint in self.folder.endpoints]
        if "://" in self.node:
            return [self.node.rstrip("/")]
        return [self.folder.endpoint(self.node).http_url]

    def api(self) -> NodeApi:
        """The SDK on this network."""
        from client.node_api import NodeApi

        keys = {
            one.http_url.rstrip("/"): bytes.fromhex(one.public_key) for one in self.folder.endpoints
        }
        trust = self.folder.trust_path
        return NodeApi(self.folder.genesis, self.urls, trust=trust, node_keys=keys)

    def key(self, name: str | None) -> PrivateKey | None:
        """The private key of this name, None for none."""
        return None if name is None else self.folder.wallet.open(name)


def command(app: typer.Typer, name: str, **settings: Any) -> Callable[[Callable[..., Any]], Any]:
    """Register a function (a coroutine function too) whose first parameter is the `Session`."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(
            ctx: typer.Context,
            _output: Format | None,
            _directory: Path | None,
            _node: str | None,
            _debug: bool,
            **arguments: Any,
        ) -> None:
            session = _session(ctx, _output, _directory, _node, _debug)
            _run(session, function, arguments)

        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        shared = [_option(ctx_name, kind, default) for ctx_name, kind, default in _SHARED]
        context = _option("ctx", typer.Context, inspect.Parameter.empty)
        keyword = inspect.Parameter.KEYWORD_ONLY
        parameters = [context, *(one.replace(kind=keyword) for one in own), *shared]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        run.__doc__ = function.__doc__
        app.command(name, **settings)(run)
        return function

    return register


def run_safely(session: Session, work: Callable[[], object]) -> int:
    """Do the work; the exit code, after one line on stderr if it failed."""
    try:
        work()
    except GroatError as error:
        if session.debug:
            raise
        session.out.error(error.code, error.message, hint_for(error))
        return exit_code_of(error)
    except BrokenPipeError:
        # The reader of our output, such as `head`, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (typer.Exit, typer.Abort, typer.TyperException):
        raise
    except Exception as error:  # the root of all commands
        if session.debug:
            raise
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        session.out.error("INTERNAL", what, "run it again with --debug and report it")
        return EXIT_INTERNAL
    return 0


def _run(session: Session, function: Callable[..., Any], arguments: dict[str, Any]) -> None:
    def work() -> None:
        result = function(session, **arguments)
        if inspect.iscoroutine(result):
            asyncio.run(result)

    code = run_safely(session, work)
    if code:
        raise typer.Exit(code)


def _session(
    ctx: typer.Context,
    output: Format | None,
    directory: Path | None,
    node: str | None,
    debug: bool,
) -> Session:
    """The options given after the command, over those given before it."""
    session = ctx.obj if isinstance(ctx.obj, Session) else Session()
    return Session(
        output or session.form,
        directory or session.directory,
        node or session.node,
        debug or session.debug,
        ctx,
    )


def _option(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default
    )


_SHARED: tuple[tuple[str, Any, Any], ...] = (
    ("_output", OutputOption, None),
    ("_directory", DirOption, None),
    ("_node", NodeOption, None),
    ("_debug", DebugOption, False),
)
