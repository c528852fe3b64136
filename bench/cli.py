"""`racos bench` (or `python -m bench.cli`): Racos and stock etcd under one load, in one run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from bench.cases import (
    GET,
    GET_SERIALIZABLE,
    GROWTH,
    PUT,
    USUAL,
    WORKLOADS,
    Case,
    parse_count,
    parse_size,
)
from bench.compare import Plan, compare
from bench.draws import DISTRIBUTIONS
from bench.drive import BenchError
from bench.overview import print_overview
from bench.report import print_report
from bench.result import Comparison
from bench.store import StorePlan, measure, print_store, to_json
from bench.suite import SUITES, read_parts, run_suite
from bench.systems import ETCD, RACOS, SYSTEMS
from bench.table import TABLE_NAME, table_of

_T = TypeVar("_T")

app = typer.Typer(
    help="Compare Racos with stock etcd under the same load, in one run.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Workloads = Annotated[
    list[str] | None,
    typer.Option(
        help="NAME[:SIZE[:CLIENTS[:DISTRIBUTION]]][,OPTION=NUMBER].., such as "
        "ycsb-a:64k:32:uniform or put:256:100,rate=2000; repeat. "
        f"Names: {', '.join(WORKLOADS)}. Distributions: {', '.join(DISTRIBUTIONS)}. "
        "Options: rate, keys, down, kill.  [default: a usual set]"
    ),
]
Sizes = Annotated[
    list[str], typer.Option("--size", help="Bytes of a value (256, 64k, 1m); repeat.")
]
Clients = Annotated[int, typer.Option(min=1, help="Clients, each with one request in flight.")]
Nodes = Annotated[int, typer.Option(min=1, max=9, help="Nodes of each cluster.")]
Seconds = Annotated[float, typer.Option(help="Length of one measurement.")]
WarmUp = Annotated[float, typer.Option(help="Seconds of load before each measurement.")]
Repetitions = Annotated[int, typer.Option(min=1, help="Measurements of each system, taking turns.")]
Only = Annotated[
    str | None, typer.Option(help="Load one system alone: racos, etcd or racos-queue.")
]
Writers = Annotated[int | None, typer.Option(min=1, help="Nodes that get clients.  [default: all]")]
Systems = Annotated[
    str | None,
    typer.Option(help="Which to compare: racos,etcd (as usual), racos,racos-queue, .."),
]
Endpoints = Annotated[
    str | None, typer.Option(help="HOST:PORT,.. of servers that run already; nothing is started.")
]
Etcd = Annotated[
    str | None, typer.Option(help="The etcd binary.  [default: on PATH, or the wheel's]")
]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Where the clusters keep their data.  [default: a temporary one in here]"),
]
Keys = Annotated[int | None, typer.Option(min=1, help="Keys in use.  [default: by value size]")]
Connections = Annotated[int, typer.Option(min=1, help="Connections to each endpoint.")]
Processes = Annotated[int, typer.Option(min=1, help="Processes of the load generator.")]
Timeout = Annotated[
    float | None,
    typer.Option(
        min=0.01, help="Seconds a client waits for an answer.  [default: 10; 0.25 in a fault run]"
    ),
]
KillAfter = Annotated[
    float,
    typer.Option(help="Kill the leader (or a node) so many seconds into the measurement; 0: none."),
]
Down = Annotated[int, typer.Option(min=0, help="Kill so many nodes before the measurement.")]
Rates = Annotated[
    list[float] | None,
    typer.Option("--rate", help="Operations per second, of an open loop; repeat to sweep."),
]
Json = Annotated[
    Path | None, typer.Option("--json", help="Write everything measured to this file.")
]
Plot = Annotated[Path | None, typer.Option(help="Draw the result into this PNG file.")]


@app.command()
def put(
    size: Sizes = ["256"],  # noqa: B006 (typer reads it, nobody changes it)
    clients: Clients = 100,
    nodes: Nodes = 3,
    seconds: Seconds = 5.0,
    warm_up: WarmUp = 1.0,
    repetitions: Repetitions = 3,
    only: Only = None,
    systems: Systems = None,
    endpoints: Endpoints = None,
    etcd: Etcd = None,
    data_dir: DataDir = None,
    keys: Keys = None,
    connections: Connections = 1,
    processes: Processes = 1,
    timeout: Timeout = None,
    kill_after: KillAfter = 0.0,
    down: Down = 0,
    rate: Rates = None,
    writers: Writers = None,
    json_file: Json = None,
    plot: Plot = None,
) -> None:
    """Puts of random values."""
    cases = _adjusted(_cases(PUT, size, clients), keys, down, kill_after, rate)
    _run(
        cases, json_file, plot, only=only, systems=systems,
        endpoints=endpoints, nodes=nodes, seconds=seconds,
        warm_up=warm_up, repetitions=repetitions, etcd=etcd, data_dir=data_dir,
        connections=connections, processes=processes, timeout=timeout, writers=writers,
    )  # fmt: skip


@app.command()
def get(
    size: Sizes = ["256"],  # noqa: B006 (typer reads it, nobody changes it)
    clients: Clients = 100,
    serializable: Annotated[
        bool, typer.Option("--serializable", help="Read what the node has, without a quorum.")
    ] = False,
    nodes: Nodes = 3,
    seconds: Seconds = 5.0,
    warm_up: WarmUp = 1.0,
    repetitions: Repetitions = 3,
    only: Only = None,
    systems: Systems = None,
    endpoints: Endpoints = None,
    etcd: Etcd = None,
    data_dir: DataDir = None,
    keys: Keys = None,
    connections: Connections = 1,
    processes: Processes = 1,
    timeout: Timeout = None,
    kill_after: KillAfter = 0.0,
    down: Down = 0,
    rate: Rates = None,
    json_file: Json = None,
    plot: Plot = None,
) -> None:
    """Gets of single keys, linearizable unless said otherwise."""
    cases = _cases(GET_SERIALIZABLE if serializable else GET, size, clients)
    _run(
        _adjusted(cases, keys, down, kill_after, rate), json_file, plot,
        only=only, systems=systems, endpoints=endpoints, nodes=nodes, seconds=seconds,
        warm_up=warm_up, repetitions=repetitions, etcd=etcd, data_dir=data_dir,
        connections=connections, processes=processes, timeout=timeout,
    )  # fmt: skip


@app.command("compare")
def compare_workloads(
    workload: Workloads = None,
    suite: Annotated[
        str | None,
        typer.Option(help=f"A set of workloads in parts, into --out: {', '.join(SUITES)}."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Directory of a suite's results; parts that are there are kept."),
    ] = None,
    part: Annotated[
        list[str] | None, typer.Option(help="Run these parts of the suite only; repeat.")
    ] = None,
    shared: Annotated[
        bool, typer.Option("--shared", help="Measure all workloads in one cluster, in order.")
    ] = False,
    nodes: Nodes = 3,
    seconds: Annotated[
        float | None, typer.Option(help="Length of one measurement.  [default: 5, or the suite's]")
    ] = None,
    warm_up: WarmUp = 1.0,
    repetitions: Annotated[
        int | None,
        typer.Option(min=1, help="Measurements of each system.  [default: 5, or the suite's]"),
    ] = None,
    only: Only = None,
    systems: Systems = None,
    endpoints: Endpoints = None,
    etcd: Etcd = None,
    data_dir: DataDir = None,
    keys: Keys = None,
    connections: Connections = 1,
    processes: Processes = 1,
    timeout: Timeout = None,
    kill_after: KillAfter = 0.0,
    down: Down = 0,
    rate: Rates = None,
    seed: Annotated[int, typer.Option(help="Of values, keys and the order of operations.")] = 1,
    json_file: Json = None,
    plot: Plot = None,
) -> None:
    """Many workloads in one run and one table: puts, gets, mixes, pages, watches, leases."""
    if suite is not None:
        if workload or endpoints or json_file or plot or keys or rate or down or kill_after:
            raise typer.BadParameter("a suite has its own workloads and files: leave away what "
                                     "chooses others")  # fmt: skip
        _run_suite(
            suite, out, part or [], nodes=nodes, seconds=seconds, repetitions=repetitions,
            systems=_systems(only or systems, None), etcd=etcd, data_dir=data_dir,
            connections=connections, processes=processes, seed=seed,
        )  # fmt: skip
        return
    cases = tuple(_checked(Case.parse, text) for text in workload or USUAL)
    _run(
        _adjusted(cases, keys, down, kill_after, rate), json_file, plot, only=only,
        systems=systems, endpoints=endpoints, nodes=nodes,
        seconds=5.0 if seconds is None else seconds, warm_up=warm_up,
        repetitions=repetitions or 5, etcd=etcd, data_dir=data_dir, connections=connections,
        processes=processes, timeout=timeout, seed=seed, shared=shared, show=print_overview,
    )  # fmt: skip


@app.command()
def store(
    keys: Annotated[int, typer.Option(help="Keys to put.")] = 102_400,
    size: Annotated[str, typer.Option(help="Bytes of a value.")] = "256",
    rounds: Annotated[
        int, typer.Option(min=0, help="How often all are put again; as often with compactions.")
    ] = 1,
    clients: Annotated[int, typer.Option(min=1, help="Clients; a divisor of the keys.")] = 64,
    nodes: Nodes = 3,
    wait: Annotated[float, typer.Option(help="Seconds for space to come back.")] = 30.0,
    phase_seconds: Annotated[
        float, typer.Option(min=0.1, help="Seconds at most for a phase of overwriting.")
    ] = 1800.0,
    systems: Systems = None,
    etcd: Etcd = None,
    data_dir: DataDir = None,
    json_file: Json = None,
) -> None:
    """What a full store costs: memory, disk, restart, counts, and puts while old versions go."""
    with _refusals():
        plan = StorePlan(
            keys=keys, size=_checked(parse_size, size), rounds=rounds, clients=clients,
            nodes=nodes, wait=wait, phase_seconds=phase_seconds,
            systems=_systems(systems, None), etcd=etcd, data_dir=data_dir,
        )  # fmt: skip
        with _bars() as bars:
            results = measure(plan, _Display(bars), bars.console.print)
        print_store(plan, results, Console())
        if json_file is not None:
            json_file.write_text(json.dumps(to_json(plan, results)) + "\n")


@app.command()
def grow(
    level: Annotated[
        list[str], typer.Option(help="Keys in the store (10k, 1m); repeat, ascending.")
    ] = ["10k", "100k", "1m"],  # noqa: B006 (typer reads it, nobody changes it)
    workload: Workloads = None,
    size: Annotated[str, typer.Option(help="Bytes of a value.")] = "256",
    nodes: Nodes = 3,
    seconds: Seconds = 5.0,
    warm_up: WarmUp = 1.0,
    repetitions: Repetitions = 1,
    only: Only = None,
    systems: Systems = None,
    etcd: Etcd = None,
    data_dir: DataDir = None,
    connections: Connections = 1,
    processes: Processes = 1,
    json_file: Json = None,
    plot: Plot = None,
) -> None:
    """The same workloads as one store grows: cost per operation, memory per key."""
    sized = [_checked(Case.parse, text) for text in workload or GROWTH]
    cases = tuple(
        replace(case, size=_checked(parse_size, size), keys=_checked(parse_count, each))
        for each in level
        for case in sized
    )
    _run(
        cases, json_file, plot, only=only, systems=systems, endpoints=None, nodes=nodes,
        seconds=seconds, warm_up=warm_up, repetitions=repetitions, etcd=etcd, data_dir=data_dir,
        connections=connections, processes=processes, shared=True, show=print_overview,
    )  # fmt: skip


def _run_suite(name: str, out: Path | None, parts: list[str], **options: Any) -> None:
    """Carry out what is missing of a suite."""
    if out is None:
        raise typer.BadParameter("--suite needs a directory for its results: --out DIR")
    with _refusals(), _bars() as bars:
        missing = run_suite(name, out, parts, _Display(bars), **options)
    table = table_of(read_parts(out))
    (out / TABLE_NAME).write_text(table)
    typer.echo(table)
    if missing:
        typer.echo(f"not measured yet: {', '.join(missing)}", err=True)


class _Display:
    """A live line on stderr: what runs, how far it is, and the rate."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task: TaskID | None = None

    def begin(self, title: str, seconds: float) -> None:
        self._task = self._bars.add_task(title, total=seconds, note="")

    def note(self, text: str) -> None:
        assert self._task is not None
        self._bars.update(self._task, note=text)

    def advance(self, seconds: float, rate: float) -> None:
        assert self._task is not None
        self._bars.update(self._task, completed=seconds)
        if rate > 0:
            self._bars.update(self._task, note=f"{rate:,.0f}/s")

    def end(self, rate: float) -> None:
        assert self._task is not None
        total = self._bars.tasks[self._task].total
        self._bars.update(self._task, completed=total, note=f"{rate:,.0f}/s")


def _run(
    cases: tuple[Case, ...],
    json_file: Path | None,
    plot: Path | None,
    *,
    only: str | None,
    systems: str | None,
    endpoints: str | None,
    show: Callable[[Comparison, Console], None] = print_report,
    **options: Any,
) -> None:
    """Carry a comparison out."""
    with _refusals():
        plan = Plan(
            cases=cases,
            systems=_systems(only or systems, endpoints),
            endpoints=tuple(each.strip() for each in (endpoints or "").split(",") if each.strip()),
            **options,
        )
        if plot is not None:
            # Before the run, not after: a missing library should not cost its results.
            from bench.plot import draw
        with _bars() as bars:
            comparison = compare(plan, _Display(bars))
        show(comparison, Console())
        if json_file is not None:
            json_file.write_text(json.dumps(comparison.to_json()) + "\n")
        if plot is not None:
            draw(comparison, plot)


def _bars() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    )


@contextmanager
def _refusals() -> Iterator[None]:
    """What goes wrong inside is one line on stderr and exit code 1."""
    try:
        yield
    except ModuleNotFoundError as error:
        _refuse(f"{error.name} is not installed: pip install 'racos[bench]'")
    except (BenchError, OSError) as error:
        _refuse(str(error))


def _cases(workload: str, sizes: Sequence[str], clients: int) -> tuple[Case, ...]:
    return tuple(Case(workload, _checked(parse_size, size), clients) for size in sizes)


def _adjusted(
    cases: tuple[Case, ...],
    keys: int | None,
    down: int,
    kill_after: float,
    rates: list[float] | None,
) -> tuple[Case, ...]:
    """The cases with what the options say of all of them; one for each rate."""

    def adjust(case: Case, rate: float) -> Case:
        try:
            return replace(
                case,
                keys=keys or case.keys,
                down=down or case.down,
                kill=kill_after or case.kill,
                rate=rate or case.rate,
            )
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error

    return tuple(adjust(case, rate) for case in cases for rate in rates or [0.0])


def _checked(parse: Callable[[str], _T], text: str) -> _T:
    """What a parser makes of an option; its refusal is the option's."""
    try:
        return parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _systems(asked: str | None, endpoints: str | None) -> tuple[str, ...]:
    names = tuple(dict.fromkeys((asked or f"{RACOS},{ETCD}").split(",")))
    for name in names:
        if name not in SYSTEMS:
            raise typer.BadParameter(f"{name!r} is none of {', '.join(SYSTEMS)}")
    if endpoints:
        return names if asked and len(names) == 1 else ("endpoints",)
    return names


def _refuse(reason: str) -> NoReturn:
    typer.echo(f"racos bench: {reason}", err=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    app()
