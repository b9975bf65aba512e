"""The sound of a clip, copied packet by packet and never decoded."""

import itertools
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, cast

from .container import Continuous, open_container, packets_of, seek
from .read import Clip

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet

_TAIL = 0.5  # [s] of sound kept after the last picture


class Sound:
    """The first sound of a clip.

    Args:
        clip: where it comes from.
        start: where to begin [s].
        end: where to end [s].
        own: it belongs to the clip that the times of the result are of, and may end a little after its pictures.
        turn: how long the pictures take before they begin anew, and the sound with them [s]; None to play it once.
    """

    def __init__(
        self, clip: Clip, start: float = 0.0, end: float | None = None, own: bool = True, turn: float | None = None
    ) -> None:
        self.clip, self.start, self.end, self.turn = clip, start, end, turn
        self.tail = _TAIL if own else 0.0
        self.container: InputContainer = open_container(clip.path)
        self.stream: AudioStream = self.container.streams.audio[0]

    def packets(self) -> "Iterator[tuple[float, Packet[AudioStream]]]":
        """Yield packets and the times they belong to, counted from `start` [s]; without end if they begin anew."""
        base = self.stream.time_base
        assert base is not None
        offset, free = 0, -(1 << 62)  # of this turn, and when the last packet ends [time base]
        for number in itertools.count(1):
            for packet in self._once():
                assert packet.pts is not None and packet.dts is not None
                if packet.pts + offset < free:  # the turn before sounds a little longer than its pictures
                    continue
                packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                free = packet.pts + (packet.duration or 1)
                yield float(packet.pts * base), packet
            if self.turn is None or free < offset:
                return
            offset = round(Fraction(self.turn) * number / base)
            self._rewind(round(self.clip.origin / base))

    def _once(self) -> "Iterator[Packet[AudioStream]]":
        """Yield the packets of one turn, their times counted from `start`."""
        base = self.stream.time_base
        assert base is not None
        shift = round((Fraction(self.start) + self.clip.origin) / base)
        if self.start > 0 and not self.clip.joins:
            seek(self.container, self.stream, shift)
        continuous = Continuous(self.clip.joins, base)
        for each in packets_of(self.container, self.stream):
            packet = cast("Packet[AudioStream]", each)
            if packet.pts is None or packet.dts is None:
                continue
            moved = continuous(packet.dts) - packet.dts
            packet.pts, packet.dts = packet.pts + moved, packet.dts + moved
            if packet.pts + (packet.duration or 0) <= shift and self.start > 0:
                continue
            if self.end is not None and packet.pts * base >= self.end + float(self.clip.origin):
                return
            if self.turn is not None and (packet.pts - shift) * base >= self.turn:
                return
            packet.pts -= shift
            packet.dts -= shift
            yield packet

    def _rewind(self, origin: int) -> None:
        """Go back to the beginning; a joined file has several places of that time, and is opened again."""
        if not self.clip.joins and seek(self.container, self.stream, origin):
            return
        self.container.close()
        self.container = open_container(self.clip.path)
        self.stream = self.container.streams.audio[0]

    def close(self) -> None:
        """Close the file it comes from."""
        self.container.close()
