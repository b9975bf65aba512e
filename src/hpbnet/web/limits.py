"""What a server accepts, and how much of it at once."""

from dataclasses import dataclass

from ..settings import check_settings, setting


@dataclass(frozen=True)
class Limits:
    """The limits of a server; a request beyond one of them is refused with a sentence that names it.

    Raises:
        ValueError: a value is of the wrong kind or out of range.
    """

    workers: int = setting(2, "How many pictures are worked on at the same time.", (1, 64))
    waiting: int = setting(32, "How many requests may wait for a worker; more are answered with 429.", (0, 10000))
    seconds: float = setting(60.0, "Time that a request may take [s]; then it is stopped (504).", (0.001, 3600))
    max_body: float = setting(200.0, "Size of a request with pictures, at most [MB].", (0.01, 10000))
    max_video_body: float = setting(4000.0, "Size of a request with videos, at most [MB].", (0.01, 1000000))
    max_megapixels: float = setting(100.0, "Size of a picture, at most [megapixels].", (0.001, 1000))
    max_video_seconds: float = setting(3600.0, "Length of a video, at most [s].", (0.1, 1000000))
    jobs: int = setting(8, "How many videos may wait to be worked on; more are answered with 429.", (0, 1000))
    sessions: int = setting(64, "How many sessions of the page are kept; the one idle longest goes first.", (1, 10000))
    idle: float = setting(3600.0, "Time after which a session or a finished video is removed [s].", (1, 1000000))

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def max_pixels(self) -> int:
        """Of a picture."""
        return round(self.max_megapixels * 1e6)

    def check_result(self, size: tuple[int, int] | None) -> None:
        """Refuse a result of too many pixels; the size is width and height.

        Raises:
            ValueError: says how many are accepted.
        """
        if size is not None and size[0] * size[1] > self.max_pixels:
            most = f"{self.max_megapixels:g} million pixels"
            raise ValueError(f"size is {size[0]}x{size[1]} px; results of more than {most} are refused")
