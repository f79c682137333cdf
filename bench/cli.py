"""The `bench` command. Nothing here imports torch before a verb needs it."""

from __future__ import annotations

import io
import os
import sys
import traceback

import click

from bench.commands._old_names import OLD_NAMES
from bench.commands.audit import audit
from bench.commands.cite import cite
from bench.commands.compare import compare
from bench.commands.doctor import doctor
from bench.commands.export import export
from bench.commands.leaderboard import leaderboard
from bench.commands.ledger import ledger
from bench.commands.new import new
from bench.commands.plugins import list_, show
from bench.commands.protocol import protocol
from bench.commands.run import run
from bench.commands.speed import speed
from bench.commands.study import retrain, study
from bench.commands.stylize import stylize
from bench.commands.submit import submit
from bench.commands.sweep import status, sweep
from bench.commands.train import train
from bench.commands.verify import verify
from bench.core.errors import BenchError, EnvironmentFault, Interrupted
from bench.terminal import console


@click.group(context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "BENCH"})
@click.version_option(package_name="attribution-bench")
def bench() -> None:
    """Measure whether a classifier's explanation survives an invisible change of the image.

    Exit codes: 0 done; 1 ran, but something failed; 2 usage; 3 integrity (hash, checksum); 4 network; 5 environment
    (data, device, disk); 130 interrupted. BENCH_DEBUG=1 shows the traceback of an error.
    """


for _verb in (
    run, protocol, new, list_, show, verify, train, leaderboard, doctor, audit, cite, compare, export, speed, submit,
    sweep, status, study, retrain, stylize, ledger, *OLD_NAMES,
):  # fmt: skip
    bench.add_command(_verb)


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit with its code.

    An error is one sentence on stderr.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # without UTF-8 print a question mark
            stream.reconfigure(errors="replace")
    try:
        code = bench.main(arguments, prog_name="bench", standalone_mode=False)
    except BenchError as error:
        if os.environ.get("BENCH_DEBUG"):
            traceback.print_exception(error)
        console.show_error(str(error))
        sys.exit(error.exit_code)
    except OSError as error:  # a path given by the user: too long, no permission, a file instead of a folder
        about = "" if error.filename is None else f" with {os.fsdecode(error.filename)[:200]!r}"
        console.show_error(
            f"expected to work{about}, got: {error.strerror or error}; correct the path or its permissions"
        )
        sys.exit(EnvironmentFault.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        console.show_error("interrupted")
        sys.exit(Interrupted.exit_code)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
