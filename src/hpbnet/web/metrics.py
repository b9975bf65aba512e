"""Counts and latencies in the text format of Prometheus."""

import threading
from bisect import bisect_left
from collections import Counter, defaultdict
from pathlib import Path

_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # [s]
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "WEBSOCKET")
_STATM = Path("/proc/self/statm")
_PAGE = 4096  # [bytes]


class Metrics:
    """Counts answers by route and status, and how long they took."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: Counter[tuple[str, str, int]] = Counter()
        self._buckets: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(_BOUNDS) + 1))
        self._seconds: Counter[str] = Counter()

    def add(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer; the route is the pattern, not the path, so that the number of routes stays small."""
        method = method if method in _METHODS else "OTHER"  # a client can invent any number of methods
        with self._lock:
            self._answers[method, route, status] += 1
            self._buckets[route][bisect_left(_BOUNDS, seconds)] += 1
            self._seconds[route] += seconds  # type: ignore[assignment]  # a Counter adds floats, too

    def to_text(self, gauges: dict[str, float]) -> str:
        """Return everything, with what is so at the moment."""
        with self._lock:
            lines = ["# TYPE hpbnet_requests_total counter"]
            lines += [
                f'hpbnet_requests_total{{method="{method}",route="{route}",status="{status}"}} {count}'
                for (method, route, status), count in sorted(self._answers.items())
            ]
            lines.append("# TYPE hpbnet_request_seconds histogram")
            for route, counts in sorted(self._buckets.items()):
                lines += self._histogram(route, counts)
        for name, value in gauges.items():
            lines += [f"# TYPE hpbnet_{name} gauge", f"hpbnet_{name} {value:g}"]
        return "\n".join(lines) + "\n"

    def _histogram(self, route: str, counts: list[int]) -> list[str]:
        lines, total = [], 0
        for bound, count in zip((*map(str, _BOUNDS), "+Inf"), counts, strict=True):
            total += count
            lines.append(f'hpbnet_request_seconds_bucket{{route="{route}",le="{bound}"}} {total}')
        lines.append(f'hpbnet_request_seconds_sum{{route="{route}"}} {self._seconds[route]:.6f}')
        return [*lines, f'hpbnet_request_seconds_count{{route="{route}"}} {total}']


def memory_in_use() -> float:
    """Return the resident memory of this process [bytes]; 0 where the system does not tell."""
    try:
        return float(_STATM.read_text().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0.0
