"""Times of packets: continuous where a recording jumps, and of decoding for reordered frames."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

BACKWARD_S, FORWARD_S = Fraction(1, 10), Fraction(10)
"""A packet so many seconds before or after the time expected begins another recording."""


def may_jump(container: Any) -> bool:
    """Return whether times in this kind of container may jump, as in a transport stream."""
    return bool(int(container.format.flags) & av.format.Flags.ts_discont.value)


class Timeline:
    """Lets times go on where several recordings follow each other in one file.

    Transport streams are put together by mere concatenation, and recorders start their clock anew.
    All streams are shifted alike at a jump, so that sound stays with its picture.
    """

    def __init__(self) -> None:
        self._offsets = [Fraction(0)]  # of the recordings so far, seconds
        self._recording: dict[int, int] = {}  # stream's index -> which recording it is in
        self._last: dict[int, Fraction] = {}  # stream's index -> its latest time, unshifted
        self._step: dict[int, Fraction] = {}  # stream's index -> how long its packets last
        self._expected: dict[int, Fraction] = {}  # stream's index -> its next time, unshifted

    @property
    def jumps(self) -> int:
        """How many there were so far."""
        return len(self._offsets) - 1

    def place(self, packet: Any) -> None:
        """Shift the times of a packet; packets come in the order of the file."""
        ticks = packet.dts if packet.dts is not None else packet.pts
        if ticks is None:
            return
        index, unit = packet.stream.index, packet.time_base
        time = ticks * unit
        if packet.stream.type in ("video", "audio"):
            expected = self._expected.get(index, time)
            if time < expected - BACKWARD_S or time > expected + FORWARD_S:
                self._begin_recording(index, expected, time)
            last = self._last.get(index)
            if packet.duration:
                self._step[index] = packet.duration * unit
            elif last is not None and 0 < time - last < FORWARD_S:
                self._step[index] = time - last
            self._last[index] = time
            self._expected[index] = time + self._step.get(index, Fraction(0))
            offset = self._offsets[self._recording.get(index, 0)]
        else:
            offset = self._offsets[-1]  # too sparse to tell a jump from a pause
        shift = round(offset / unit)
        if packet.pts is not None:
            packet.pts += shift
        if packet.dts is not None:
            packet.dts += shift

    def _begin_recording(self, index: int, expected: Fraction, time: Fraction) -> None:
        current = self._recording.get(index, 0)
        if current == self.jumps:  # the first stream to jump decides for all
            self._offsets.append(self._offsets[current] + expected - time)
        self._recording[index] = current + 1


@dataclass(frozen=True)
class Schedule:
    """When packets are decoded and how long frames last, in the clip's time base.

    Attributes:
        decoding: time of decoding of each packet, strictly rising, never after it is shown.
        durations: time shown -> how long.
    """

    decoding: list[int]
    durations: dict[int, int]


def make_schedule(times: NDArray[np.int64], last_duration: int) -> Schedule:
    """Return when to decode packets that are shown at `times`, given in the order of decoding.

    Packets are decoded at the times at which frames are shown, as many frames earlier as the
    furthest that a packet comes after its place in the order of showing. The first ones are spaced
    as the first frames are: containers add up these times to the length of the clip.
    """
    shown = np.sort(times)
    rank = np.searchsorted(shown, times)
    delay = int(max(0, (np.arange(len(times)) - rank).max()))
    early = shown[:delay] - (shown[delay] - shown[0])
    decoding = np.concatenate([early, shown[: len(shown) - delay]])
    durations = np.diff(shown, append=shown[-1] + last_duration)
    return Schedule(decoding.tolist(), dict(zip(shown.tolist(), durations.tolist(), strict=True)))
