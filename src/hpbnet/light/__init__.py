"""The light of a scene on a person: what the background gives, what the portrait has, and the ratio of the two.

Reading a light is one thing (`scene.py`, `person.py`: pictures -> `Light`), applying it another (`apply.py`: two lights
and the person's surface -> `AffineGrid`). Knows nothing of harmonizers; a harmonizer mends the photo, this lights it.
"""

from .apply import Lighting, LightingReport, Surface, light_person, relight_ratio, shade_ratio, shared_light, surface
from .person import person_light
from .scene import scene_light
from .value import Light, LightReport, lamp_light

__all__ = [
    "Light",
    "LightReport",
    "Lighting",
    "LightingReport",
    "Surface",
    "lamp_light",
    "light_person",
    "person_light",
    "relight_ratio",
    "scene_light",
    "shade_ratio",
    "shared_light",
    "surface",
]
