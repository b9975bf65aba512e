"""The light of a scene on a person: what it may do, what it must do, and what it must never do."""

import csv
import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpbnet.affine_grid import AffineGrid
from hpbnet.color import luma, srgb_to_linear
from hpbnet.layers import Layers
from hpbnet.light import (
    Light,
    Lighting,
    lamp_light,
    light_person,
    person_light,
    relight_ratio,
    scene_light,
    shade_ratio,
    shared_light,
    surface,
)
from hpbnet.options import ComposeOptions, Lamp, parse_lamp
from hpbnet.pipeline import Pipeline

data = pytest.importorskip("skimage.data", reason="scikit-image is not installed")

Picture = NDArray[np.float64]
HEIGHT, WIDTH = 256, 384
FACE = slice(48, 150), slice(128, 214)  # of the astronaut where she is placed
MIDDLE = 171


def drawn(paint: Callable[[Picture, Picture, np.random.Generator], Picture]) -> Tensor:
    """Paint a scene [1,3,H,W] over y, x in [0,1]."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] / np.array([HEIGHT, WIDTH]).reshape(2, 1, 1)
    picture = np.clip(paint(y, x, np.random.default_rng(0)), 0, 1)
    return torch.from_numpy(picture).float().permute(2, 0, 1)[None].contiguous()


def even(y: Picture, *color: float) -> Picture:
    return np.ones_like(y)[..., None] * np.array(color)


def blue_sky(y: Picture, x: Picture, generator: np.random.Generator) -> Picture:
    sky = np.stack([0.35 + 0.35 * y, 0.58 + 0.22 * y, 0.9 + 0 * y], 2)
    return np.where(y[..., None] > 0.6, even(y, 0.62, 0.57, 0.45), sky)


def sea(y: Picture, x: Picture, generator: np.random.Generator) -> Picture:
    sky = np.stack([0.35 + 0.4 * y, 0.58 + 0.3 * y, 0.92 + 0 * y], 2)
    return np.where(y[..., None] > 0.45, np.stack([0.1 + 0 * y, 0.35 + 0.1 * y, 0.55 + 0.1 * y], 2), sky)


def deep_blue_sky(y: Picture, x: Picture, generator: np.random.Generator) -> Picture:
    return np.stack([0.15 + 0.1 * y, 0.35 + 0.1 * y, 0.75 + 0 * y], 2)


def meadow(y: Picture, x: Picture, generator: np.random.Generator) -> Picture:
    grass = even(y, 0.35, 0.55, 0.2) * (0.9 + 0.2 * generator.random((HEIGHT, WIDTH, 1)))
    return np.where(y[..., None] < 0.3, even(y, 0.75, 0.85, 0.95), grass)


def grass(y: Picture, x: Picture, generator: np.random.Generator) -> Picture:
    return even(y, 0.3, 0.5, 0.15) * (0.7 + 0.5 * generator.random((HEIGHT, WIDTH, 1)))


def forest(y: Picture, x: Picture, generator: np.random.Generator) -> Picture:
    return even(y, 0.1, 0.2, 0.05) * (0.5 + generator.random((HEIGHT, WIDTH, 1)))


def magenta_bar(y: Picture, x: Picture, generator: np.random.Generator) -> Picture:
    walls = np.stack([0.5 + 0.3 * x, 0.1 + 0.1 * x, 0.45 + 0.4 * x], 2)
    return np.where(((y > 0.2) & (y < 0.3))[..., None], even(y, 1, 0.5, 1), walls)


def sunset(y: Picture, x: Picture, generator: np.random.Generator) -> Picture:
    sky = np.stack([0.9 - 0.4 * y, 0.5 - 0.3 * y, 0.2 - 0.1 * y], 2)
    return np.where((np.hypot(x - 0.7, 0.7 * y - 0.315) < 0.06)[..., None], even(y, 1, 0.95, 0.8), sky)


def night(y: Picture, x: Picture, generator: np.random.Generator) -> Picture:
    lamps = generator.random((HEIGHT, WIDTH, 1)) > 0.995
    return np.where(lamps, even(y, 1, 0.8, 0.5), even(y, 0.06, 0.06, 0.09))


def window_on_the_left(y: Picture, x: Picture, generator: np.random.Generator) -> Picture:
    return np.where(((x < 0.25) & (y > 0.15) & (y < 0.7))[..., None], 1.0, even(y, 0.35, 0.35, 0.35))


def blue_stage(y: Picture, x: Picture, generator: np.random.Generator) -> Picture:
    return np.stack([0.05 + 0.1 * x, 0.05 + 0.1 * x, 0.5 + 0.4 * x], 2)


def grey_wall(y: Picture, x: Picture, generator: np.random.Generator) -> Picture:
    return even(y, 0.45, 0.45, 0.45)


def before(background: Tensor) -> Layers:
    """Place the astronaut before a background."""
    photo = data.astronaut()[:400, 60:460] / 255.0
    y, x = np.mgrid[:400, :400]
    inside = (np.hypot((x - 165) / 75, (y - 120) / 105) < 1) | ((y > 230) & (np.abs(x - 170) < 165))
    size = (240, 240)
    canvas = [np.zeros((HEIGHT, WIDTH, channels)) for channels in (3, 1)]
    canvas[0][16:, 72:312] = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
    canvas[1][16:, 72:312, 0] = cv2.resize(inside.astype(float), size, interpolation=cv2.INTER_AREA)
    foreground, alpha = (torch.from_numpy(each).float().permute(2, 0, 1)[None].clamp(0, 1) for each in canvas)
    return Layers(foreground, alpha, background)


def lit(layers: Layers, **options: object) -> tuple[Lighting, Tensor]:
    """Light a person -> what was read, and the new foreground."""
    lighting = light_person(layers, ComposeOptions(**options))  # type: ignore[arg-type]
    assert lighting is not None
    return lighting, layers.recolor(lighting.grid).foreground


def stops(layers: Layers, after: Tensor) -> tuple[float, float, float]:
    """How the person's mean R, G, B in linear light change [log2]."""

    def mean(image: Tensor) -> Tensor:
        return (srgb_to_linear(image) * layers.alpha).sum((0, 2, 3)) / layers.alpha.sum()

    red, green, blue = (mean(after).log2() - mean(layers.foreground).log2()).tolist()
    return red, green, blue


def brighter(layers: Layers, after: Tensor) -> float:
    """Ratio of the person's mean luma."""
    return float((luma(after) * layers.alpha).sum() / (luma(layers.foreground) * layers.alpha).sum())


@pytest.mark.parametrize("scene", [blue_sky, sea, deep_blue_sky], ids=lambda scene: scene.__name__)
@pytest.mark.parametrize("light", [ComposeOptions().light, 1.0])
def test_blue_sky_by_day_does_not_make_people_blue_or_pale(scene: Callable[..., Picture], light: float) -> None:
    layers = before(drawn(scene))
    _, after = lit(layers, light=light)
    red, _, blue = stops(layers, after)
    assert abs(red - blue) <= 0.12 * max(1.0, light / ComposeOptions().light)
    assert abs(brighter(layers, after) - 1) <= 0.2


@pytest.mark.parametrize("scene", [meadow, grass, forest], ids=lambda scene: scene.__name__)
def test_leaves_do_not_make_people_green(scene: Callable[..., Picture]) -> None:
    layers = before(drawn(scene))
    red, green, _ = stops(layers, lit(layers)[1])
    assert abs(green - red) <= 0.06


def test_neon_and_sunset_colour_people() -> None:
    layers = before(drawn(magenta_bar))
    red, green, blue = stops(layers, lit(layers)[1])
    assert (red + blue) / 2 - green >= 0.15
    layers = before(drawn(sunset))
    red, _, blue = stops(layers, lit(layers)[1])
    assert red - blue >= 0.15
    layers = before(drawn(blue_stage))
    red, _, blue = stops(layers, lit(layers)[1])
    assert blue - red >= 0.15


def test_people_are_darker_at_night() -> None:
    layers = before(drawn(night))
    assert brighter(layers, lit(layers)[1]) <= 0.85


def test_a_window_on_the_left_lights_the_left_of_the_face() -> None:
    layers = before(drawn(window_on_the_left))
    _, after = lit(layers)
    ratio = (luma(after) / luma(layers.foreground).clamp_min(0.02))[0, 0][FACE]
    middle = MIDDLE - FACE[1].start
    assert ratio[:, :middle].mean() > 1.02 * ratio[:, middle:].mean()
    mirrored = Layers(layers.foreground, layers.alpha, layers.background.flip(3))
    ratio = (luma(lit(mirrored)[1]) / luma(layers.foreground).clamp_min(0.02))[0, 0][FACE]
    assert ratio[:, :middle].mean() < ratio[:, middle:].mean()


def test_a_grey_wall_changes_nothing_that_can_be_seen() -> None:
    layers = before(drawn(grey_wall))
    _, after = lit(layers, light=1.0)
    assert float(((after - layers.foreground).abs() * layers.alpha).sum() / layers.alpha.sum() / 3) * 255 < 1.0


def test_real_photos_as_their_own_composites_hardly_change(shared: Path) -> None:
    folder = shared / "data" / "portraits"
    with (folder / "index.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val" and float(row["background_std"]) >= 18]
    changes = []
    for row in rows[:: len(rows) // 40][:40]:
        photo = cv2.imread(str(folder / "images" / f"{row['name']}.webp"))[:, :, ::-1]
        matte = cv2.resize(cv2.imread(str(folder / "alpha" / f"{row['name']}.webp"), 0), photo.shape[1::-1])
        image = torch.from_numpy(photo.copy()).permute(2, 0, 1)[None].float() / 255
        layers = Layers(image, torch.from_numpy(matte)[None, None].float() / 255, image)
        _, after = lit(layers)
        changes.append(float(((after - image).abs() * layers.alpha).sum() / layers.alpha.sum() / 3) * 255)
    assert len(changes) == 40 and np.mean(changes) <= 4.0


def test_no_light_is_the_untouched_person_bit_for_bit() -> None:
    layers = before(drawn(sunset))
    assert light_person(layers, ComposeOptions(light=0.0)) is None
    composition = Pipeline(lambda layers: AffineGrid.uniform(torch.eye(3, 4)[None] * 0.5)).harmonize(
        layers.composite(), layers.alpha[0, 0].numpy(), strength=0.0, light=0.0
    )
    assert composition.image.equal(layers.composite()) and composition.light is None


def test_light_goes_from_nothing_to_all_and_never_leaves_the_range() -> None:
    layers = before(drawn(sunset))
    changes = [float((lit(layers, light=light)[1] - layers.foreground).abs().mean()) for light in (0.01, 0.3, 0.6, 1.0)]
    assert changes == sorted(changes) and changes[0] < 0.001 < changes[-1]
    for scene in (sunset, magenta_bar, night, window_on_the_left):
        grid = lit(before(drawn(scene)), light=1.0, lamp="-90,0,#ff0000,4")[0].grid
        gains = torch.diagonal(grid.matrix[0, :, :3, 0]).flatten()
        assert grid.matrix.isfinite().all() and gains.min() > 0.3 and gains.max() < 2.2


def test_the_light_grid_is_diagonal_with_one_luma_cell_and_follows_a_nose() -> None:
    grid = lit(before(drawn(sunset)))[0].grid
    assert grid.shape == (1, 32, 48)
    off = grid.matrix * (1 - torch.eye(3, 4).view(1, 3, 4, 1, 1, 1))
    assert (off == 0).all()


def test_a_white_shirt_keeps_its_folds_under_a_bright_lamp() -> None:
    layers = before(drawn(grey_wall))
    folds = 0.9 + 0.08 * torch.sin(torch.arange(WIDTH) / 2).expand(1, 3, HEIGHT, WIDTH)
    bright = Layers(folds, layers.alpha, layers.background)
    after = lit(bright, lamp=(0, 20, "#ffffff", 2))[1][:, :, 200:, 150:200]
    assert (after < 1).float().mean() > 0.85
    assert after.std() > 0.5 * folds[:, :, 200:, 150:200].std()


@pytest.mark.parametrize(("azimuth", "brighter_side"), [(-70, 0), (70, 1)])
def test_a_lamp_lights_the_side_it_stands_on_in_its_colour(azimuth: float, brighter_side: int) -> None:
    layers = before(drawn(grey_wall))
    _, after = lit(layers, light=0.0, lamp=(azimuth, 10, "#ff8040"))
    ratio = (after / layers.foreground.clamp_min(0.02))[0][:, *FACE]
    middle = MIDDLE - FACE[1].start
    sides = ratio[:, :, :middle].mean((1, 2)), ratio[:, :, middle:].mean((1, 2))
    near, far = sides[brighter_side], sides[1 - brighter_side]
    assert near[0] > 1.1 * far[0] and near[0] > near[1] > near[2]


def test_a_lamp_is_one_on_what_faces_it() -> None:
    lamp = lamp_light(90.0, 0.0, (1.0, 0.5, 0.25), 2.0)
    right = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    shaded = relight_ratio(right, Light.even(), lamp)[0, :, 0, 0]
    assert shaded.tolist() == pytest.approx([2.0, 1.0, 0.5], rel=0.01)
    report = lamp.report()
    assert (report.azimuth, report.elevation) == (pytest.approx(90), pytest.approx(0))


def test_an_even_light_is_one_everywhere_and_neutral() -> None:
    even = Light.even(2)
    normals = torch.nn.functional.normalize(torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(1)), dim=1)
    torch.testing.assert_close(relight_ratio(normals, even, even), torch.ones(2, 3, 4, 5))
    report = even.report()
    assert report.level == 1 and report.contrast == 0 and report.tint == 0 and 6400 <= report.kelvin <= 6600


def test_blending_lights_reaches_both_ends_and_keeps_colour_between() -> None:
    plain, lamp = Light.even(), Light.even().plus(lamp_light(40.0, 30.0, (1.0, 0.6, 0.2), 1.0))
    torch.testing.assert_close(plain.lerp(lamp, 0.0).coefficients, plain.coefficients)
    torch.testing.assert_close(plain.lerp(lamp, 1.0).coefficients, lamp.coefficients)
    torch.testing.assert_close(plain.lerp(lamp, 0.5).logs, lamp.logs / 2)


def test_what_a_person_shows_already_is_not_added_again_and_nothing_else_is_taken_away() -> None:
    warm = Light.even().plus(lamp_light(90.0, 0.0, (1.0, 0.6, 0.2), 1.0))
    torch.testing.assert_close(shared_light(warm, warm).coefficients, warm.coefficients)
    cold = Light.even().plus(lamp_light(-90.0, 0.0, (0.2, 0.6, 1.0), 1.0))
    shared = shared_light(cold, warm)
    assert shared.shape.abs().max() < 1e-5  # it comes from the other side
    assert shared.report().kelvin == pytest.approx(6500, abs=150)


def test_a_warm_photo_is_read_as_warm_whatever_the_skin() -> None:
    for skin in ((0.85, 0.65, 0.55), (0.62, 0.43, 0.34), (0.38, 0.24, 0.18)):
        face = torch.tensor(skin).view(1, 3, 1, 1).expand(1, 3, 40, 40)
        normals = torch.tensor([0.0, -1.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 40, 40)
        gains = torch.tensor([1.15, 1.0, 0.8]).view(1, 3, 1, 1)
        plain, warm = (
            person_light((face * gain).clamp(0, 1), torch.ones(1, 1, 40, 40), normals).report()
            for gain in (torch.ones(1, 3, 1, 1), gains)
        )
        assert warm.kelvin < plain.kelvin - 200
        assert 5200 < plain.kelvin < 8200


def test_the_ratio_of_a_light_to_itself_is_no_change() -> None:
    layers = before(drawn(sunset))
    light = scene_light(layers.background, layers.alpha)
    grid = shade_ratio(surface(layers), light, light)
    torch.testing.assert_close(grid.apply(layers.foreground), layers.foreground)


def test_the_persons_own_place_in_a_background_is_not_read() -> None:
    layers = before(drawn(magenta_bar))
    painted = layers.background * (1 - layers.alpha) + layers.alpha
    one, other = (scene_light(image, layers.alpha) for image in (layers.background, painted))
    torch.testing.assert_close(one.logs, other.logs, atol=0.08, rtol=0)


def test_light_comes_from_where_the_person_sees_it() -> None:
    background = torch.full((1, 3, 60, 90), 0.2)
    background[..., 40:50] = 1.0
    alpha = torch.zeros(1, 1, 60, 90)
    alpha[..., 20:, 70:85] = 1
    assert scene_light(background, alpha).report().azimuth < -30
    assert scene_light(background, alpha.flip(3)).report().azimuth > 30


def test_a_batch_equals_its_singles() -> None:
    backgrounds = torch.cat([drawn(sunset), drawn(night)])
    alpha = before(drawn(sunset)).alpha.expand(2, -1, -1, -1)
    both = scene_light(backgrounds, alpha)
    alone = scene_light(backgrounds[1:], alpha[1:])
    torch.testing.assert_close(both.coefficients[1:], alone.coefficients)


def test_nobody_and_everybody_give_finite_numbers() -> None:
    for alpha in (torch.zeros(1, 1, 64, 64), torch.ones(1, 1, 64, 64)):
        lighting, after = lit(Layers(torch.full((1, 3, 64, 64), 0.4), alpha, torch.zeros(1, 3, 64, 64)), light=1.0)
        assert lighting.grid.matrix.isfinite().all() and after.isfinite().all()
        assert all(math.isfinite(value) for value in vars(lighting.scene.report()).values())


@pytest.mark.parametrize("size", [(16, 16), (16, 3000), (3000, 16), (33, 17)])
def test_canvases_of_any_shape_are_lit(size: tuple[int, int]) -> None:
    alpha = torch.zeros(1, 1, *size)
    alpha[..., size[0] // 2 :, size[1] // 4 : 3 * size[1] // 4] = 1
    layers = Layers(torch.full((1, 3, *size), 0.4), alpha, torch.full((1, 3, *size), 0.1))
    _, after = lit(layers, light=1.0, lamp="90,0")
    assert after.shape == layers.foreground.shape and after.isfinite().all()


@pytest.mark.parametrize(
    ("given", "lamp"),
    [
        ("40,20", Lamp(40, 20)),
        ("40, 20, #ffcc88, 0.8", Lamp(40, 20, "#ffcc88", 0.8)),
        ("-40,20,3200K", Lamp(-40, 20, "3200K")),
        ((40, 20), Lamp(40, 20)),
        ((40, 20, 0.5), Lamp(40, 20, strength=0.5)),
        ([40, 20, "#FFCC88", 0.8], Lamp(40, 20, "#FFCC88", 0.8)),
        (Lamp(1.5, 2), Lamp(1.5, 2)),
    ],
)
def test_lamps_are_read_as_text_and_as_numbers(given: object, lamp: Lamp) -> None:
    assert parse_lamp(given) == lamp
    options = ComposeOptions(lamp=given)  # type: ignore[arg-type]
    assert options.lamp == str(lamp) and parse_lamp(options.lamp) == lamp


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("bright", "lamp is 'bright'; expected AZIMUTH,ELEVATION"),
        ("40", "expected AZIMUTH,ELEVATION"),
        ("40,20,1,2,3", "expected AZIMUTH,ELEVATION"),
        ("nan,20", "expected AZIMUTH,ELEVATION"),
        ("40,inf", "expected AZIMUTH,ELEVATION"),
        ("40,20,#ffcc8", "expected AZIMUTH,ELEVATION"),
        ("400,20", "lamp's azimuth is 400; expected a number from -180 to 180"),
        ("40,91", "lamp's elevation is 91; expected a number from -90 to 90"),
        ("40,20,9", "lamp's strength is 9; expected a number from 0 to 4"),
        ("40,20,100K", "lamp's colour is 100K; expected 1700K to 25000K"),
        (7, "lamp is 7; expected AZIMUTH,ELEVATION"),
        ((40, None), "expected AZIMUTH,ELEVATION"),
        ("", "expected AZIMUTH,ELEVATION"),
    ],
)
def test_lamps_that_are_none_are_refused_in_one_sentence(given: object, says: str) -> None:
    with pytest.raises(ValueError, match=says) as error:
        ComposeOptions(lamp=given)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
