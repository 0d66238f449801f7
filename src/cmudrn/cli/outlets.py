"""Where `cmudrn watch` puts restored images: files, a recording, HTTP, RTSP, MQTT."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cmudrn.errors import MissingExtraError

if TYPE_CHECKING:
    from cmudrn.image import Pixels
    from cmudrn.live.outputs import Tell
    from cmudrn.live.sources import Arrival, Source
    from cmudrn.live.statistics import WatchStatistics
    from cmudrn.live.status import LiveStatus
    from cmudrn.live.watcher import RestoreFrame, ShowFrame, WatchSettings

PASSWORD_VARIABLE = "CMUDRN_MQTT_PASSWORD"  # an option would show it to every user

Publish = Annotated[
    str,
    typer.Option(
        help="Serve a stream at HOST:PORT, such as 127.0.0.1:8554: motion JPEG, the newest frame, "
        "its score and state as JSON."
    ),
]
Push = Annotated[str, typer.Option(help="Push a stream as H.264 to rtsp://SERVER/PATH.")]
Mqtt = Annotated[
    str,
    typer.Option(
        help="Report score and state to mqtt://[USER@]HOST[:PORT][/NAME], with Home Assistant's "
        f"discovery; the password is in ${PASSWORD_VARIABLE}."
    ),
]


@dataclass(frozen=True)
class Outlets:
    """What a command line asks for; all may be left out."""

    output: Path | None = None
    record: Path | None = None
    overwrite: bool = False
    publish: str = ""
    push: str = ""
    mqtt: str = ""

    @property
    def wants_score(self) -> bool:
        """Whether somebody is told the weather score."""
        return bool(self.publish or self.mqtt)

    def check(self, source: Source, output: str | None) -> None:
        """Refuse what makes no sense for a source.

        Args:
            source: what is watched.
            output: as it was written; the name of a folder may end in /.

        Raises:
            TargetError: the output is named as a file of an unknown kind.
            BadParameter: the source is a folder, and frames are wanted of it or nothing is.
        """
        from cmudrn.photos.planning import check_output

        if source.is_sequence:
            return
        if output is None:
            raise typer.BadParameter("The images of a folder need a place to go: name it with -o.")
        if self.record is not None:
            raise typer.BadParameter("A recording is made of a stream, not of a folder's images.")
        if self.publish or self.push or self.mqtt:
            raise typer.BadParameter("A stream is published, not a folder's images.")
        check_output(output, single=True)

    def watch(
        self,
        source: Source,
        restore: RestoreFrame,
        tell: Tell,
        settings: WatchSettings,
        folder: Path | None,
    ) -> WatchStatistics:
        """Open everything, watch the source, and close everything."""
        from cmudrn.live import watcher
        from cmudrn.live.outputs import OutputWriter
        from cmudrn.live.recorder import Recorder

        with ExitStack() as stack:
            recorder = None
            if self.record is not None:
                recorder = Recorder(self.record, overwrite=self.overwrite)
                stack.callback(recorder.close)
            show: ShowFrame = OutputWriter(
                self.output, folder, tell, recorder=recorder, overwrite=self.overwrite
            )
            if self.publish or self.push or self.mqtt:
                from cmudrn.live.status import LiveStatus

                status = LiveStatus()
                show = status.show(self._open(status, show, tell, stack))
                restore, tell = status.restore(restore), status.tell(tell)
            return watcher.watch(source, restore, show, tell, settings)

    def _open(self, status: LiveStatus, show: ShowFrame, tell: Tell, stack: ExitStack) -> ShowFrame:
        """Open what serves a stream, and return what takes its frames."""
        if self.publish:
            from cmudrn.live.publisher import Publisher

            publisher = Publisher(status, self.publish)
            stack.callback(publisher.close)
            tell("PUBLISH", f"http://{publisher.place}/")
        if self.mqtt:
            try:
                from cmudrn.live.mqtt import MqttReporter
            except ImportError as error:
                raise MissingExtraError("An MQTT broker", "mqtt") from error
            password = os.environ.get(PASSWORD_VARIABLE)
            stack.callback(MqttReporter(status, self.mqtt, tell, password).close)
        if not self.push:
            return show
        from cmudrn.live.rtsp_push import RtspPusher

        pusher = RtspPusher(self.push, tell)
        stack.callback(pusher.close)

        def show_and_push(arrival: Arrival, pixels: Pixels) -> None:
            show(arrival, pixels)
            pusher.add(arrival, pixels)

        return show_and_push
