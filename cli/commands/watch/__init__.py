"""The command `skyduel watch`: a catalogue of every frame as soon as it is finished."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional, cast

import typer

from skyduel.cli.commands.options import (
    ENDINGS,
    Config,
    Ending,
    Everything,
    MaskBits,
    Most,
    OneDetector,
    Purity,
    Regions,
    Set,
    Threshold,
    mask_bits_from,
    one_detector,
    read_config,
)
from skyduel.cli.commands.watch.terminal import (
    EventLines,
    copied_events,
    ended_by_signals,
    print_line,
    status_line,
)
from skyduel.cli.console import warn
from skyduel.cli.frame_facts import Fwhm, Gain, ZeroPoint, given_facts
from skyduel.core.errors import BadInputError
from skyduel.core.extras import is_installed, pip_command
from skyduel.core.io.atomic_files import existing_folder

if TYPE_CHECKING:
    from skyduel.runner.watch.watcher import Tell

__all__ = ["NAME", "command"]

NAME = "watch"

#: How often the folder is listed where watchdog is not installed [s].
_POLL_S = 2.0


def command(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder into which the camera writes frames.")
    ],
    with_: OneDetector = "neural",
    out_folder: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="Folder for the catalogues and the journal, events.jsonl.",
        ),
    ] = Path("catalogs"),
    format_: Ending = "ecsv",
    threshold: Threshold = None,
    purity: Purity = None,
    most: Most = None,
    everything: Everything = False,
    regions: Regions = False,
    order: Annotated[
        str,
        typer.Option(
            metavar="oldest|newest", help="Which frame is next where several wait, by file time."
        ),
    ] = "oldest",
    queue: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="At most N frames wait; the oldest above it are skipped and recorded. 0: all "
            "frames wait.",
        ),
    ] = 0,
    skipped: Annotated[
        bool, typer.Option("--skipped", help="Also take the frames that were skipped earlier.")
    ] = False,
    poll: Annotated[
        Optional[float],  # noqa: UP045 - typer reads the annotation at run time
        typer.Option(
            metavar="SECONDS",
            help="List the folder so often, for network drives. Default: the kernel tells "
            "(inotify; needs watchdog).",
        ),
    ] = None,
    patience: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="A file that cannot be read and has not changed for so long is reported.",
        ),
    ] = 10.0,
    once: Annotated[
        bool, typer.Option("--once", help="End when the frames that are there are done.")
    ] = False,
    reference: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="TABLE|earlier",
            help="Flag sources that a table of known sources lacks, or the field's own earlier "
            "frames.",
        ),
    ] = None,
    radius_px: Annotated[
        float, typer.Option(help="A source this close to one of the reference is known, in px.")
    ] = 2.0,
    new_snr: Annotated[
        float, typer.Option(metavar="SNR", help="Lowest S/N of a new source.")
    ] = 10.0,
    seen: Annotated[
        int, typer.Option(min=0, metavar="N", help="A new source was seen in at most N frames.")
    ] = 0,
    earlier: Annotated[
        int, typer.Option(metavar="N", help="Earlier frames of a field that are kept.")
    ] = 20,
    events: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="FILE|-", help="Also append the events to a file, or print them on stdout (-)."
        ),
    ] = None,
    mqtt: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="URL",
            help="Also publish the events: mqtt://\\[USER@]HOST\\[:PORT]\\[/TOPIC]; mqtts:// uses "
            "TLS. The password is read from SKYDUEL_MQTT_PASSWORD.",
        ),
    ] = None,
    http: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            metavar="PORT",
            min=0,
            max=65535,
            help="Answer http://127.0.0.1:PORT/status (JSON) and /metrics (Prometheus).",
        ),
    ] = None,
    zero_point: ZeroPoint = None,
    fwhm: Fwhm = None,
    gain: Gain = None,
    mask_bits: MaskBits = None,
    set_: Set = None,
    config: Config = None,
) -> None:
    """Watch a folder and write a catalogue of every frame as soon as it is finished.

    The catalogues are those of `skyduel detect`. A frame is finished when its writer closes the
    file or renames it in; a file that is cut short is tried again while it grows. With its journal
    a restart goes on where the last watch ended, also after kill -9. Ctrl-C and SIGTERM end the
    watch after the frame in work. The exit status is 2 if --once leaves out a frame.
    """
    existing_folder(folder, "a folder to watch")
    from skyduel.core.operating_point import RowChoice
    from skyduel.runner.watch.backlog import Order
    from skyduel.runner.watch.plan import WatchPlan
    from skyduel.runner.watch.references import NewSourceRules
    from skyduel.runner.watch.watcher import open_watcher

    if format_ not in ENDINGS:
        raise BadInputError("--format", f"one of {', '.join(ENDINGS)}", repr(format_))
    choice = RowChoice(threshold=threshold, purity=purity, most=most, everything=everything)
    rules = NewSourceRules(radius_px=radius_px, snr=new_snr, most_seen=seen, keep=earlier)
    spec = one_detector(read_config(config), with_, set_, choice)
    if poll is None and not is_installed("watchdog"):
        poll = _POLL_S
        warn(
            f"watchdog is not installed ({pip_command('watchdog')}): the folder is listed every "
            f"{poll:g} s"
        )
    plan = WatchPlan(
        folder=folder,
        out=out_folder,
        spec=spec,
        choice=choice,
        format=format_,
        mask_bits=mask_bits_from(mask_bits),
        given=given_facts(zero_point=zero_point, fwhm=fwhm, gain=gain),
        regions=regions,
        order=cast(Order, order),
        limit=queue,
        poll_s=poll,
        patience_s=patience,
        once=once,
        skipped=skipped,
        reference=reference,
        rules=rules,
    )
    tell: list[Tell] = []
    with ExitStack() as stack:
        watcher = stack.enter_context(open_watcher(plan, tell))
        stack.enter_context(ended_by_signals(watcher))
        say = stack.enter_context(status_line(folder, watcher))
        tell.append(EventLines(say, out_folder, to_stderr=events == "-"))
        if events is not None:
            tell.append(stack.enter_context(copied_events(events)))
        if mqtt is not None:
            from skyduel.runner.watch.mqtt import broker_of, mqtt_events

            tell.append(stack.enter_context(mqtt_events(broker_of(mqtt), warn)))
        if http is not None:
            from skyduel.runner.watch.http_status import serve_status

            port = stack.enter_context(serve_status(http, lambda: watcher.snapshot))
            warn(f"http://127.0.0.1:{port}/status and /metrics", style="dim")
        last = watcher.run()
    print_line(f"skyduel: {last.line()}", to_stderr=True)
    if once and (last.refused or last.skipped):
        raise typer.Exit(2)
