"""Tests of the shadow on the ground: where it falls, how dark it is, and where there is none."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hpbnet.harmonize import identity
from hpbnet.layers import Layers
from hpbnet.light import Light, lamp_light
from hpbnet.pipeline import Pipeline
from hpbnet.relight import SKY, sphere_light
from hpbnet.shadow import OVERHEAD, free_below, key_light, lamp_key, main_light, with_shadow
from scenes import canvas, person


def figure(top: int = 40, bottom: int = 160, left: int = 130, height: int = 200, width: int = 300) -> torch.Tensor:
    """A body on two legs."""
    alpha = person(top, left, bottom - 40, left + 40, height, width)
    alpha[..., bottom - 40 : bottom, left + 4 : left + 14] = 1
    alpha[..., bottom - 40 : bottom, left + 26 : left + 36] = 1
    return alpha


def layers_of(alpha: torch.Tensor) -> Layers:
    scene = canvas(*alpha.shape[-2:])
    return Layers(torch.ones_like(scene), alpha, scene)


def centre(shadow: torch.Tensor) -> tuple[float, float]:
    """Row and column of a shadow's middle."""
    rows, columns = torch.meshgrid(*(torch.arange(length) for length in shadow.shape[-2:]), indexing="ij")
    weight = shadow[0, 0] / shadow.sum()
    return float((rows * weight).sum()), float((columns * weight).sum())


def test_the_ground_is_darkest_at_the_feet_and_untouched_far_from_them() -> None:
    layers = with_shadow(layers_of(figure()), 1.0)
    shadow = layers.full_shadow()
    row, column = divmod(int(shadow.argmax()), 300)
    assert 150 <= row <= 166 and 130 <= column <= 170 and 0.3 < float(shadow.max()) < 1
    assert not shadow[..., :60, :].any() and not shadow[..., :80].any() and not shadow[..., 220:].any()


def test_the_picture_is_bit_equal_to_the_background_where_alpha_and_shadow_are_zero() -> None:
    layers = with_shadow(layers_of(figure()), 1.0, lamp_key(60, 40))
    outside = ((layers.alpha == 0) & (layers.full_shadow() == 0)).expand(-1, 3, -1, -1)
    image = layers.composite()
    assert image[outside].equal(layers.background[outside]) and int(outside.sum()) > 3 * 10000
    inside = (layers.alpha == 1).expand(-1, 3, -1, -1)
    assert image[inside].equal(layers.foreground[inside])


def test_the_background_is_multiplied_by_what_the_shadow_leaves() -> None:
    layers = with_shadow(layers_of(figure()), 1.0, lamp_key(-60, 40))
    expected = torch.lerp(layers.background * (1 - layers.full_shadow()), layers.foreground, layers.alpha)
    assert torch.allclose(layers.composite(), expected, atol=1e-6)
    small = layers.resize(100, 150)
    assert small.composite().shape == (1, 3, 100, 150) and float(small.composite().min()) < 0.25 * 0.9


@pytest.mark.parametrize(("azimuth", "side"), [(60, -1), (-60, 1), (120, -1), (-120, 1)])
def test_a_shadow_falls_away_from_the_lamp(azimuth: float, side: int) -> None:
    plain = centre(with_shadow(layers_of(figure()), 1.0).full_shadow())
    shadow = centre(with_shadow(layers_of(figure()), 1.0, lamp_key(azimuth, 40)).full_shadow())
    assert side * (shadow[1] - plain[1]) > 20
    assert (shadow[0] > plain[0]) == (abs(azimuth) > 90)  # a lamp behind the person: towards the camera, down


def test_a_low_lamp_throws_a_longer_shadow_but_not_beyond_a_limit() -> None:
    def reach(elevation: float) -> int:
        shadow = with_shadow(layers_of(figure(width=700, left=330)), 1.0, lamp_key(90, elevation)).full_shadow()
        return 330 - int((shadow[0, 0].amax(dim=0) > 0.02).nonzero()[0])

    assert reach(70) < reach(50) < reach(40) < 1.6 * 120
    assert reach(10) == reach(30)
    below, level = (with_shadow(layers_of(figure()), 1.0, lamp_key(90, up)).full_shadow() for up in (-30, 0))
    assert below.equal(level) and float(centre(level)[1]) == pytest.approx(149.5, abs=2)  # at the feet only


def test_the_amount_is_how_dark_it_is() -> None:
    half, whole = (with_shadow(layers_of(figure()), amount).shadow for amount in (0.5, 1.0))
    assert half is not None and whole is not None
    lost = 1 - (1 - whole) ** 2.2, 1 - (1 - half) ** 2.2
    assert torch.allclose(lost[0], 2 * lost[1], atol=0.01)
    assert with_shadow(layers_of(figure()), 0.0).shadow is None


def test_there_is_no_shadow_where_the_canvas_or_the_photo_cuts_the_person() -> None:
    assert with_shadow(layers_of(person(40, 100, 200, 160, 200, 300)), 1.0).shadow is None
    pipeline = Pipeline(identity)
    scene = np.full((200, 300, 3), 120, np.uint8)
    portrait = np.zeros((200, 300, 3), np.uint8)
    cut = person(40, 100, 200, 160, 200, 300)[0, 0].numpy()
    assert pipeline(portrait, scene, mask=cut, y=0.7, shadow=1.0).layers.shadow is None
    whole = pipeline(portrait, scene, mask=figure()[0, 0].numpy(), shadow=1.0)
    assert whole.layers.shadow is not None


def test_a_frame_that_cuts_a_little_leaves_a_part_of_the_shadow() -> None:
    alpha = person(40, 100, 100, 200, 100, 300)
    alpha[..., -1, :] = 0
    assert free_below(alpha) == 1.0
    alpha[..., -1, 100:105] = 1
    assert free_below(alpha) == pytest.approx(0.5)
    alpha[..., -1, 100:110] = 1
    assert free_below(alpha) == 0.0


def test_nobody_throws_no_shadow() -> None:
    assert with_shadow(layers_of(torch.zeros(1, 1, 60, 80)), 1.0).shadow is None
    assert with_shadow(layers_of(0.3 * figure()), 1.0).shadow is None


def test_each_of_two_people_stands_on_ground_of_its_own() -> None:
    near, far = figure(60, 180, 30), figure(40, 130, 210)
    shadow = with_shadow(layers_of(near + far), 1.0).full_shadow()
    alone = [with_shadow(layers_of(each), 1.0).full_shadow() for each in (near, far)]
    assert torch.allclose(shadow, 1 - (1 - alone[0]) * (1 - alone[1]), atol=0.02)


def test_a_foot_further_back_touches_the_ground_too() -> None:
    alpha = figure()
    alpha[..., 156:, 160:] = 0  # the right leg ends four rows higher
    shadow = with_shadow(layers_of(alpha), 1.0).full_shadow()[0, 0]
    assert shadow[152:160, 134:144].amax() < 1.3 * shadow[148:158, 156:166].amax()


def test_the_light_of_a_lamp_is_mixed_with_some_from_above() -> None:
    direction = torch.tensor([[0.6, -0.48, 0.64]])
    half = key_light(sphere_light(direction, torch.full((1,), 0.5), torch.ones(1))[:, :, None].expand(-1, -1, 3))
    vector = [0.5 * own + OVERHEAD.share * above for own, above in zip(direction[0], OVERHEAD.direction, strict=True)]
    assert torch.tensor(half.direction).mul(half.share).tolist() == pytest.approx([float(v) for v in vector], abs=1e-5)
    even = torch.zeros(1, 9, 1)
    even[:, 0] = SKY
    plain = key_light(even)
    assert plain.direction == pytest.approx(OVERHEAD.direction, abs=2e-3) and plain.share == pytest.approx(
        0.25, abs=1e-3
    )


def test_the_users_lamp_goes_before_the_scenes_light() -> None:
    scene = lamp_light(-90, 45, (1.0, 1.0, 1.0), 1.0).plus(Light.even()).coefficients
    assert main_light(None, None) == OVERHEAD
    assert main_light(scene, None).direction[0] < -0.3 and 0.3 < main_light(scene, None).share < 0.9
    assert main_light(scene, "30,20,#ff8800") == lamp_key(30, 20)


def test_a_lamp_of_the_user_throws_the_shadow_in_pictures() -> None:
    pipeline = Pipeline(identity)
    portrait, scene = np.full((200, 300, 3), 200, np.uint8), np.full((200, 400, 3), 120, np.uint8)
    right, left = (
        pipeline(portrait, scene, mask=figure()[0, 0].numpy(), shadow=1.0, scale=0.5, lamp=lamp).layers.full_shadow()
        for lamp in ("80,40", "-80,40")
    )
    assert centre(right)[1] < 190 < 210 < centre(left)[1]


def test_the_layers_hold_the_shadow_as_a_black_layer(tmp_path: Path) -> None:
    folder = tmp_path
    pipeline = Pipeline(identity)
    portrait, scene = np.full((200, 300, 3), 200, np.uint8), np.full((200, 300, 3), 120, np.uint8)
    composition = pipeline(portrait, scene, mask=figure()[0, 0].numpy(), shadow=0.8, scale=0.6, y=0.8)
    composition.save_layers(folder)
    planes = {name: np.asarray(Image.open(folder / f"{name}.png")) for name in ("foreground", "alpha", "background")}
    shadow = np.asarray(Image.open(folder / "shadow.png").convert("RGBA"))
    assert (shadow[..., :3] == 0).all() and (planes["background"] == 120).all()
    alpha = planes["alpha"][..., None] / 255
    ground = planes["background"] * (1 - shadow[..., 3:] / 255)
    flat = ground * (1 - alpha) + planes["foreground"] * alpha
    assert np.abs(flat - 255 * composition.image[0].permute(1, 2, 0).numpy()).max() < 2
    pipeline(portrait, scene, mask=figure()[0, 0].numpy()).save_layers(folder)
    assert not (folder / "shadow.png").exists()


@pytest.mark.parametrize("value", [-0.1, 2, "dark", float("nan"), None])
def test_a_wrong_shadow_is_told_in_one_sentence(value: object) -> None:
    with pytest.raises(ValueError, match=r"shadow is .*; expected a number from 0 to 1"):
        Pipeline(identity)("p.png", "b.png", shadow=value)
