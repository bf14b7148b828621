"""``crosscal``: the command line. Commands are imported when they are used, so that ``--help`` is immediate."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any, NoReturn

# One thread for linear algebra: workers and chains are the parallelism here, and spinning threads only cost.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import click

from crosscal import __version__
from crosscal.cli.edges import Stopped, ended_by_signals, output_problem, prepare_streams
from crosscal.cli.lines import say
from crosscal.core.errors import CrossCalError, encodable

#: Command name to (module, one line of help); a command's module is loaded when it is called.
COMMANDS = {
    "demo": ("crosscal.cli.demo", "Run a demonstration on built-in data, offline."),
    "init": ("crosscal.cli.init", "Write a commented job file."),
    "run": ("crosscal.cli.run", "Run a job file; finished stages are skipped."),
    "report": ("crosscal.cli.report", "Write the HTML report of a run directory."),
    "compare": ("crosscal.cli.compare", "Compare the corrections of two runs."),
    "list": ("crosscal.cli.list", "List the members of a family (modifiers, models, kernels, ...)."),
    "fluxcal": ("crosscal.cli.fluxcal", "Flux calibrate a list of fibre frames."),
    "data": ("crosscal.cli.data", "List, find, download and build data files."),
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
    """Run the command line; expected errors and what the system refuses become one sentence.

    Exit codes are those of the commands (0 if they say nothing else), 1 for errors, 2 for wrong usage, and 128 plus the
    signal's number where a signal ended the command (130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP).
    """
    prepare_streams()
    os.environ["MPLBACKEND"] = "agg"  # figures go to files; a name from elsewhere may be unknown here
    try:
        with ended_by_signals():
            code = group.main(args=arguments, prog_name="crosscal", standalone_mode=False)
        sys.stdout.flush()
    except CrossCalError as error:
        _fail(str(error), 1)
    except click.UsageError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except KeyboardInterrupt as error:
        _interrupted(error)
    except click.Abort as error:
        _interrupted(error.__cause__)
    except UnicodeEncodeError as error:
        _not_utf8(error)
    except OSError as error:
        _refused(error)
    sys.exit(code if isinstance(code, int) else 0)


def _interrupted(error: BaseException | None) -> NoReturn:
    """Say that a signal ended the command; click hides it, and an end of file in our own code, in an Abort."""
    if isinstance(error, EOFError):
        raise error
    if isinstance(error, Stopped):
        _fail(f"ended by {error}; the same command resumes the run", 128 + error.number)
    _fail("interrupted; the same command resumes the run", 130)


def _not_utf8(error: UnicodeEncodeError) -> NoReturn:
    """Say which name of a file or directory is not UTF-8."""
    if error.reason != "surrogates not allowed":
        raise error
    name = error.object[max(0, error.start - 40) : error.end + 40]
    _fail(f"the name of a file or directory is not UTF-8 (...{name}...); expected names in UTF-8", 1)


def _refused(error: OSError) -> NoReturn:
    """Say what the operating system refused; an OSError without a number is not from there, but a mistake."""
    if error.errno is None:
        raise error
    if problem := output_problem():
        if isinstance(problem, BrokenPipeError):
            sys.exit(1)
        _fail(f"cannot write to standard output ({problem.strerror})", 1)
    _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror), 1)


def _fail(sentence: str, code: int) -> NoReturn:
    sentence = " ".join(sentence.split())
    sentence = sentence if sentence.endswith((".", "?", "!")) else sentence + "."
    say(f"crosscal: error: {encodable(sentence)}", err=True, signs=False)
    sys.exit(code)


if __name__ == "__main__":
    main()
