"""What became of a video: counts, times and notices."""

from dataclasses import dataclass, field
from pathlib import Path

from ..matte import VISIBLE_ALPHA
from .pixels import Floats
from .threads import Clock


@dataclass(frozen=True)
class VideoReport:
    """What was written, and what it took."""

    path: Path
    frames: int
    seconds: float  # length of the result
    size: tuple[int, int]  # height and width [px]
    elapsed: float  # [s]
    shares: tuple[tuple[str, float], ...]  # part of the work, processor time of its thread [s]
    repeated: int = 0  # frames that could not be decoded
    empty: int = 0  # frames without a person
    cuts: int = 0
    interrupted: bool = False
    notices: tuple[str, ...] = ()


@dataclass
class Tally:
    """What is counted and told on the way."""

    clock: Clock
    frames: int = 0
    repeated: int = 0
    empty: int = 0
    cuts: int = 0
    greatest: float = 1.0  # alpha that was given of any frame
    framing: tuple[str, ...] = ()  # notices
    told: dict[str, None] = field(default_factory=dict)  # notices, each once

    def tell(self, notice: str) -> None:
        """Keep a notice."""
        self.told[notice] = None

    def count(self, empty: bool, alpha: Floats | None, cuts: int) -> None:
        """Count a frame, the alpha that was given for it, and the new scenes up to it."""
        given = 1.0 if alpha is None else float(alpha.max())
        self.greatest = max(self.greatest, given) if self.frames else given
        self.frames += 1
        self.empty += empty
        self.cuts = cuts

    def notices(self) -> tuple[str, ...]:
        """Return everything that the user should know."""
        notices = [*self.told, *self.framing]
        if self.repeated:
            notices.append(f"{_frames(self.repeated)} could not be decoded and repeated the one before.")
        if self.empty == self.frames:
            notices.append("No person was found in any frame.")
        elif self.empty:
            notices.append(f"No person was found in {_frames(self.empty)}, which show the background alone.")
        elif self.greatest <= VISIBLE_ALPHA:
            notices.append(f"The person is almost invisible: alpha is never above {self.greatest:.0%}.")
        return tuple(notices)


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"
