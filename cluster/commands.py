"""The commands of `racos` besides `serve`: local clusters, the demonstration, the bench."""

from __future__ import annotations

import signal
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from cluster.backup import restore_command, snapshot_app
from cluster.find import NotFound
from cluster.fsck import fsck_command
from cluster.recover import recover_command
from cluster.spec import STATE_FILE, ClusterError, lay_out
from cluster.supervisor import READY_TIMEOUT, LocalCluster, State
from racos import __version__

_WATCH_PAUSE = 0.5  # seconds between looks at the nodes of a foreground cluster
_DISK_UNIT = 1024 * 1024
_STATUS_COLUMNS = 110  # narrower, addresses would be cut

app = typer.Typer(
    help="Racos: a leaderless, erasure-coded key-value store that speaks etcd's API.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
cluster_app = typer.Typer(
    help="A cluster of local processes.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(cluster_app, name="cluster")
app.add_typer(snapshot_app, name="snapshot")
app.command("restore")(restore_command)
app.command("fsck")(fsck_command)
app.command("recover")(recover_command)

DataDir = Annotated[Path, typer.Option("--data-dir", help="Directory of the local cluster.")]
Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="Nodes: n1, n2, ..")]
_DEFAULT_DIR = Path("racos-cluster")
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def run(argv: Sequence[str]) -> int:
    """Runs a command; the exit code. What goes wrong is told in one line on stderr."""
    try:
        app(list(argv), prog_name="racos")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        print(f"racos: {where}{error.strerror or error}", file=sys.stderr)
        return 1
    except (ClusterError, NotFound) as error:
        print(f"racos: {error}", file=sys.stderr)
        return 1
    return 0


@app.command("serve", context_settings=_PASS_ON, add_help_option=False)
def serve_command() -> None:
    """Run one node (etcd's flags; `racos serve --help` lists them)."""
    # The entry point takes `racos serve` before it comes here, so that a node starts lean; this
    # line is for the list of commands.
    raise ClusterError("serve must be the first word: racos serve [flags]")


@app.command("sim", context_settings=_PASS_ON, add_help_option=False)
def sim_command(context: typer.Context) -> None:
    """Run simulated clusters under faults, one per seed (`racos sim --help`)."""
    from racos.sim.cli import run as simulate

    raise typer.Exit(simulate(context.args))


@app.command("explore", context_settings=_PASS_ON, add_help_option=False)
def explore_command(context: typer.Context) -> None:
    """Visit every state of one slot of a small cluster (`racos explore --help`)."""
    from racos.sim.explore_cli import run as explore

    raise typer.Exit(explore(context.args))


@app.command("engines", context_settings=_PASS_ON, add_help_option=False)
def engines_command(context: typer.Context) -> None:
    """Compare lanes with the published queue in simulated time (`racos engines --help`)."""
    from racos.sim.engines import run as compare

    raise typer.Exit(compare(context.args))


@app.command("bench", context_settings=_PASS_ON, add_help_option=False)
def bench_command(context: typer.Context) -> None:
    """Compare throughput and latency with stock etcd (`racos bench --help`)."""
    try:
        from bench.cli import app as bench_app
    except ModuleNotFoundError as error:
        raise ClusterError(f"{error}: pip install 'racos[bench]'") from None
    bench_app(context.args, prog_name="racos bench")


@app.command("version")
def version_command() -> None:
    """Print the version."""
    print(f"racos {__version__}")


@cluster_app.command()
def up(
    nodes: Annotated[int, typer.Option(help="Number of nodes, 1 to 9.")] = 3,
    data_dir: DataDir = _DEFAULT_DIR,
    client_port: Annotated[
        int, typer.Option(help="Clients of node i (from 0) use this + 10*i, peers the next.")
    ] = 2379,
    detach: Annotated[bool, typer.Option("--detach", help="Return, and leave it running.")] = False,
    data_fragments: Annotated[
        int, typer.Option(help="Fragments that rebuild a value; 0: nodes that may not fail.")
    ] = 0,
    engine: Annotated[
        str, typer.Option(help="lanes, or queue: the published algorithm, to compare.")
    ] = "lanes",
) -> None:
    """Start a cluster (or one that was stopped, with its data) and wait until it serves."""
    flags: tuple[str, ...] = (f"--data-fragments={data_fragments}",) if data_fragments else ()
    if engine != "lanes":
        flags += (f"--engine={engine}",)
    cluster = _prepare(nodes, data_dir, client_port, detach, flags)
    if not detach:
        signal.signal(signal.SIGTERM, _interrupt)
    try:
        _start_and_report(cluster)
    except (ClusterError, KeyboardInterrupt):
        cluster.stop_all()
        raise
    print(_endpoints_line(cluster), flush=True)
    if not detach:
        print("Ctrl-C stops the cluster.", file=sys.stderr)
        _watch_until_interrupted(cluster)


@cluster_app.command()
def status(data_dir: DataDir = _DEFAULT_DIR) -> None:
    """Show the nodes: state, pid, addresses, readiness, lanes, missing fragments, space on disk."""
    cluster = LocalCluster.open(data_dir)
    titles = (
        "node",
        "state",
        "pid",
        "clients",
        "peers",
        "ready",
        "lane",
        "missing",
        "scrub",
        "MiB on disk",
    )
    lanes_off = cluster.lanes_off()
    table = Table(*titles, box=None)
    for node in cluster.spec.nodes:
        state = cluster.state(node.name)
        running = state is State.RUNNING
        missing = cluster.figure(node.name, "racos_fragments_missing") if running else None
        table.add_row(
            node.name,
            "stopped" if state is State.GONE else state.value,
            "-" if state is State.GONE else str(cluster.pid(node.name)),
            node.endpoint,
            node.peer_url.removeprefix("http://"),
            _readiness(cluster, node.name) if running else "no",
            "-" if lanes_off is None else "off" if node.name in lanes_off else "on",
            "-" if missing is None else f"{missing:.0f}",
            _scrubbed(cluster, node.name) if running else "-",
            f"{_disk_bytes(cluster.data_path(node.name)) / _DISK_UNIT:.1f}",
        )
    Console(width=max(Console().width, _STATUS_COLUMNS)).print(table)
    print(_endpoints_line(cluster))


@cluster_app.command()
def kill(names: Names, data_dir: DataDir = _DEFAULT_DIR) -> None:
    """Kill nodes at once (SIGKILL)."""
    cluster = _open(data_dir, names)
    for name in names:
        pid = cluster.pid(name)
        cluster.kill(name)
        print(f"{name} killed (pid {pid})")


@cluster_app.command()
def pause(names: Names, data_dir: DataDir = _DEFAULT_DIR) -> None:
    """Freeze nodes (SIGSTOP)."""
    cluster = _open(data_dir, names)
    for name in names:
        cluster.pause(name)
        print(f"{name} paused (pid {cluster.pid(name)})")


@cluster_app.command()
def resume(names: Names, data_dir: DataDir = _DEFAULT_DIR) -> None:
    """Let frozen nodes go on (SIGCONT)."""
    cluster = _open(data_dir, names)
    for name in names:
        cluster.resume(name)
        print(f"{name} resumed (pid {cluster.pid(name)})")


@cluster_app.command()
def start(
    names: Names,
    data_dir: DataDir = _DEFAULT_DIR,
    timeout: Annotated[float, typer.Option(help="Seconds to wait.")] = READY_TIMEOUT,
) -> None:
    """Start stopped nodes and wait until they serve (which needs a majority of nodes)."""
    cluster = _open(data_dir, names)
    for name in names:
        cluster.start(name)
    cluster.wait_ready(
        timeout,
        names=names,
        on_ready=lambda name: print(f"{name} started (pid {cluster.pid(name)})"),
    )


@cluster_app.command()
def logs(
    name: Annotated[str, typer.Argument(help="Node.")],
    data_dir: DataDir = _DEFAULT_DIR,
    lines: Annotated[int, typer.Option(min=1, help="Last lines to show.")] = 100,
) -> None:
    """Print the end of a node's log."""
    with open(LocalCluster.open(data_dir).log_path(name), errors="replace") as file:
        sys.stdout.writelines(deque(file, maxlen=lines))


@cluster_app.command()
def down(data_dir: DataDir = _DEFAULT_DIR) -> None:
    """Stop all nodes; their data stays."""
    cluster = LocalCluster.open(data_dir)
    running = len(cluster.pids())
    cluster.stop_all()
    print(f"{running} nodes stopped; their data stays in {cluster.directory}")


@cluster_app.command()
def demo(data_dir: DataDir = _DEFAULT_DIR) -> None:
    """Show a running cluster at work, with etcdctl."""
    from cluster.demo import demonstrate

    demonstrate(LocalCluster.open(data_dir))


def _open(data_dir: Path, names: Sequence[str]) -> LocalCluster:
    """The cluster, if it has all these nodes: a wrong name must not be found half way."""
    cluster = LocalCluster.open(data_dir)
    for name in names:
        cluster.state(name)
    return cluster


def _prepare(
    nodes: int, data_dir: Path, client_port: int, detach: bool, flags: tuple[str, ...]
) -> LocalCluster:
    """A new cluster, or the one that the directory remembers if it is the one asked for."""
    if not (data_dir / STATE_FILE).exists():
        if data_dir.exists() and any(data_dir.iterdir()):
            raise ClusterError(f"{data_dir} is not empty and holds no cluster: choose another")
        return LocalCluster(
            nodes, data_dir=data_dir, base_port=client_port, flags=flags, detached=detach
        )
    cluster = LocalCluster.open(data_dir, detached=detach)
    if cluster.pids():
        raise ClusterError(
            f"the cluster in {data_dir} already runs ({len(cluster.pids())} of "
            f"{len(cluster.names)} nodes): `racos cluster start NAME` starts single nodes, "
            "`racos cluster down` stops all"
        )
    asked = lay_out(nodes, system=cluster.system, client_port=client_port, flags=flags)
    if (asked.nodes, asked.flags) != (cluster.spec.nodes, cluster.spec.flags):
        raise ClusterError(
            f"{data_dir} holds a cluster of {len(cluster.names)} nodes, clients on "
            f"{', '.join(cluster.endpoints())} {' '.join(cluster.spec.flags)}: ask for the same, "
            "or choose another --data-dir"
        )
    return cluster


def _start_and_report(cluster: LocalCluster) -> None:
    console = Console(stderr=True)
    began = time.monotonic()
    waiting = list(cluster.names)
    with console.status(f"starting {', '.join(waiting)}") as spinner:
        cluster.start_all()

        def told(name: str) -> None:
            waiting.remove(name)
            took = time.monotonic() - began
            console.print(f"{name} serves on {cluster.endpoint(name)} after {took:.1f} s")
            spinner.update(f"waiting for {', '.join(waiting)}")

        cluster.wait_ready(on_ready=told)


def _watch_until_interrupted(cluster: LocalCluster) -> None:
    """Tells of nodes that end; on Ctrl-C or SIGTERM stops them all."""
    try:
        _tell_of_ends(cluster)
    except KeyboardInterrupt:
        print("stopping", file=sys.stderr)
        cluster.stop_all()


def _tell_of_ends(cluster: LocalCluster) -> NoReturn:
    gone: set[str] = set()
    while True:
        time.sleep(_WATCH_PAUSE)
        current = LocalCluster.open(cluster.directory)
        for name in current.names:
            if current.state(name) is not State.GONE:
                gone.discard(name)
            elif name not in gone:
                gone.add(name)
                print(f"{name} ended: {current.last_log_line(name)}", file=sys.stderr)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _endpoints_line(cluster: LocalCluster) -> str:
    return f"export ETCDCTL_ENDPOINTS={','.join(cluster.endpoints())}"


def _readiness(cluster: LocalCluster, name: str) -> str:
    """Whether it takes part; for one that has lost its memory, how far it is with that."""
    if not cluster.figure(name, "racos_silent"):
        return "yes" if cluster.is_ready(name) else "no"
    upto = cluster.figure(name, "racos_silent_upto_round")
    done = cluster.figure(name, "racos_silent_round")
    if upto is None or done is None or upto < 0:
        return "silent"
    return f"round {done:.0f} of {upto:.0f}"


def _scrubbed(cluster: LocalCluster, name: str) -> str:
    """How far a node is with checking what it has at rest, or when it was done with that."""
    progress = cluster.figure(name, "racos_scrub_progress")
    since = cluster.figure(name, "racos_scrub_last_pass_seconds")
    if progress is None or since is None:
        return "-"
    return f"{progress:.0%}" if progress < 1 or since < 0 else f"{since / 60:.0f} min ago"


def _disk_bytes(directory: Path) -> int:
    """Space that files take on disk, preallocated and sparse parts as the file system counts."""
    total = 0
    for path in directory.rglob("*"):
        try:
            total += path.lstat().st_blocks * 512
        except FileNotFoundError:
            continue  # a running node may remove what it has just listed
    return total
