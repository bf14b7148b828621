"""``crosscal``: the command line. Commands are imported when they are used, so that ``--help`` is immediate."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

# One thread for linear algebra: workers and chains are the parallelism here, and spinning threads only cost.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import click

from crosscal import __version__
from crosscal.core.errors import CrossCalError

#: Command name to (module, one line of help); a command's module is loaded when it is called.
COMMANDS = {
    "demo": ("crosscal.cli.demo", "Run a part on built-in data, offline."),
    "init": ("crosscal.cli.init", "Write a commented job file."),
    "run": ("crosscal.cli.run", "Run a job file; finished stages are skipped."),
    "report": ("crosscal.cli.report", "Write the HTML report of a run directory."),
    "compare": ("crosscal.cli.compare", "Compare the corrections of two runs."),
    "list": ("crosscal.cli.list", "List the members of a family (modifiers, models, kernels, ...)."),
    "fluxcal": ("crosscal.cli.fluxcal", "Flux calibrate a list of fibre frames."),
    "data": ("crosscal.cli.data", "Show, find, fetch and build data."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the command names in the order a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command."""
        if cmd_name not in COMMANDS:
            return None
        return import_module(COMMANDS[cmd_name][0]).command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the command; an unknown one gets the closest known names."""
        from crosscal.core.errors import UnknownNameError

        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            raise UnknownNameError("command", name, COMMANDS, where="crosscal")
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="crosscal")
def group() -> None:
    """Bring astronomical instruments into agreement.

    Start with `crosscal demo`, then `crosscal init xray my_job.toml` and `crosscal run my_job.toml`.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; expected errors become one sentence and exit code 1."""
    try:
        code = group.main(args=arguments, prog_name="crosscal", standalone_mode=False)
    except CrossCalError as error:
        _fail(str(error), 1)
    except click.UsageError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except (KeyboardInterrupt, click.Abort):
        _fail("interrupted; the same command resumes where it stopped", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(sentence: str, code: int) -> None:
    click.echo(f"crosscal: error: {sentence}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
