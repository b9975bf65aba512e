"""Tests of the affine grid."""

import pytest
import torch
from torch import Tensor

from hpbnet.affine_grid import AffineGrid

LUMA = torch.tensor([0.2126, 0.7152, 0.0722], dtype=torch.float64)
SHAPES = [(1, 1, 1), (1, 4, 5), (1, 1, 6), (1, 7, 1), (8, 1, 1), (3, 4, 5), (5, 1, 3), (1, 64, 64)]


def random_grid(shape: tuple[int, int, int], generator: torch.Generator, batch: int = 1) -> AffineGrid:
    noise = torch.randn(batch, 3, 4, *shape, generator=generator)
    return AffineGrid(torch.eye(3, 4).view(1, 3, 4, 1, 1, 1) + 0.1 * noise)


def two_cells(position: Tensor, cells: int) -> tuple[Tensor, Tensor, Tensor]:
    """Lower cell, upper cell and the upper one's share at a position in [0,1]."""
    place = (position * cells - 0.5).clamp(0, cells - 1)
    lower = place.floor().long()
    return lower, (lower + 1).clamp(max=cells - 1), place - lower


def apply_by_definition(grid: AffineGrid, image: Tensor) -> Tensor:
    """Evaluate a grid in float64 at every pixel, corner by corner, straight from its definition."""
    image, matrix = image.double(), grid.matrix.double().expand(image.shape[0], -1, -1, -1, -1, -1)
    depth, height, width = grid.shape
    rows, columns = image.shape[-2:]
    luma = torch.einsum("c,bchw->bhw", LUMA, image)
    y = ((torch.arange(rows, dtype=torch.float64) + 0.5) / rows).view(1, -1, 1).expand_as(luma)
    x = ((torch.arange(columns, dtype=torch.float64) + 0.5) / columns).view(1, 1, -1).expand_as(luma)
    item = torch.arange(image.shape[0]).view(-1, 1, 1).expand_as(luma)
    read = torch.zeros(*luma.shape, 3, 4, dtype=torch.float64)
    d0, d1, d = two_cells(luma, depth)
    h0, h1, h = two_cells(y, height)
    w0, w1, w = two_cells(x, width)
    for z, z_share in ((d0, 1 - d), (d1, d)):
        for row, row_share in ((h0, 1 - h), (h1, h)):
            for column, column_share in ((w0, 1 - w), (w1, w)):
                share = (z_share * row_share * column_share)[..., None, None]
                read += share * matrix[item, :, :, z, row, column]
    ones = torch.ones_like(image[:, :1])
    return torch.einsum("bhwij,bjhw->bihw", read, torch.cat([image, ones], 1)).clamp(0, 1)


@pytest.mark.parametrize("shape", SHAPES)
def test_apply_equals_the_trilinear_definition_in_float64(
    shape: tuple[int, int, int], generator: torch.Generator
) -> None:
    image, grid = torch.rand(2, 3, 61, 83, generator=generator), random_grid(shape, generator, 2)
    error = (grid.apply(image) - apply_by_definition(grid, image)).abs().max()
    assert error < 0.01 / 255


def test_apply_works_in_bands_of_a_large_image(generator: torch.Generator) -> None:
    image, grid = torch.rand(1, 3, 90, 1500, generator=generator), random_grid((2, 3, 4), generator)
    assert (grid.apply(image) - apply_by_definition(grid, image)).abs().max() < 0.01 / 255


def test_one_matrix_is_applied_exactly() -> None:
    image = torch.tensor([0.25, 0.5, 0.75]).view(1, 3, 1, 1).expand(1, 3, 4, 5)
    matrix = torch.tensor([[[0.5, 0, 0, 0.25], [0, 1, 0, 0], [0, 0, 2, 0]]])
    expected = torch.tensor([0.375, 0.5, 1.0]).view(1, 3, 1, 1).expand(1, 3, 4, 5)
    assert torch.equal(AffineGrid.uniform(matrix).apply(image), expected)


def test_identity_changes_nothing(generator: torch.Generator) -> None:
    image = torch.rand(2, 3, 9, 7, generator=generator)
    assert torch.equal(AffineGrid.identity().apply(image), image)
    assert torch.equal(AffineGrid.identity(2).apply(image), image)
    smooth = AffineGrid.identity().resample(1, 4, 4)
    assert (smooth.apply(image) - image).abs().max() < 1e-6


@pytest.mark.parametrize("shape", SHAPES)
def test_apply_is_the_same_where_gradients_are_asked_for(
    shape: tuple[int, int, int], generator: torch.Generator
) -> None:
    image, grid = torch.rand(1, 3, 33, 47, generator=generator), random_grid(shape, generator)
    learned = AffineGrid(grid.matrix.clone().requires_grad_())
    painted = learned.apply(image)
    assert (painted - grid.apply(image)).abs().max() < 1e-5
    painted.sum().backward()
    assert learned.matrix.grad is not None and learned.matrix.grad.abs().sum() > 0


@pytest.mark.parametrize("shape", SHAPES)
def test_a_window_is_recoloured_as_in_the_whole_and_the_rest_is_kept(
    shape: tuple[int, int, int], generator: torch.Generator
) -> None:
    image, grid = torch.rand(1, 3, 40, 50, generator=generator), random_grid(shape, generator)
    part = grid.apply(image, window=(7, 5, 31, 44))
    whole = grid.apply(image)
    assert (part[:, :, 7:31, 5:44] - whole[:, :, 7:31, 5:44]).abs().max() < 1e-6
    mask = torch.ones(40, 50, dtype=torch.bool)
    mask[7:31, 5:44] = False
    assert torch.equal(part[:, :, mask], image[:, :, mask])


def test_the_same_input_gives_the_same_bits(generator: torch.Generator) -> None:
    image, grid = torch.rand(1, 3, 200, 300, generator=generator), random_grid((4, 8, 8), generator)
    assert torch.equal(grid.apply(image), grid.apply(image))


def test_apply_leaves_its_input_alone(generator: torch.Generator) -> None:
    image, grid = torch.rand(1, 3, 20, 30, generator=generator), random_grid((2, 3, 3), generator)
    before, matrix = image.clone(), grid.matrix.clone()
    grid.apply(image)
    assert torch.equal(image, before) and torch.equal(grid.matrix, matrix)


def test_lerp_reaches_both_ends_and_broadcasts_shapes(generator: torch.Generator) -> None:
    coarse, fine = random_grid((1, 1, 1), generator), random_grid((2, 4, 4), generator)
    assert torch.equal(coarse.lerp(fine, 1.0).matrix, fine.matrix)
    assert torch.allclose(coarse.lerp(fine, 0.0).matrix, coarse.matrix.expand_as(fine.matrix))
    assert torch.allclose(coarse.lerp(fine, 0.25).matrix, 0.75 * coarse.matrix + 0.25 * fine.matrix)


def test_shrinking_to_nothing_is_identity(generator: torch.Generator) -> None:
    image, grid = torch.rand(1, 3, 8, 8, generator=generator), random_grid((1, 2, 2), generator)
    assert (grid.shrink(0.0).apply(image) - image).abs().max() < 1e-6
    assert torch.equal(grid.shrink(1.0).matrix, grid.matrix)


def test_resampling_to_more_cells_keeps_a_constant_grid(generator: torch.Generator) -> None:
    grid = random_grid((1, 1, 1), generator)
    assert torch.allclose(grid.resample(3, 4, 5).matrix, grid.matrix.expand(-1, -1, -1, 3, 4, 5))
    assert grid.resample(1, 1, 1) is grid


@pytest.mark.parametrize("shape", [(1, 1, 1), (8, 16, 16), (4, 1, 1)])
def test_fit_recovers_an_affine_change(shape: tuple[int, int, int], generator: torch.Generator) -> None:
    source = torch.rand(2, 3, 48, 64, generator=generator)
    truth = AffineGrid.uniform(torch.tensor([[[0.8, 0.1, 0, 0.02], [0, 0.7, 0.1, 0.1], [0.1, 0, 0.9, -0.01]]]))
    target = truth.apply(source)
    depth, height, width = shape
    grid = AffineGrid.fit(source, target, depth=depth, height=height, width=width)
    assert grid.shape == shape
    assert (grid.apply(source) - target).abs().max() < 0.5 / 255


def test_fit_follows_a_change_over_the_image(generator: torch.Generator) -> None:
    source = torch.rand(1, 3, 96, 96, generator=generator) * 0.5
    target = source * torch.linspace(0.5, 1.5, 96)
    one = AffineGrid.fit(source, target, depth=1, height=1, width=1)
    many = AffineGrid.fit(source, target, depth=1, height=1, width=16)
    assert (many.apply(source) - target).abs().mean() < 0.1 * (one.apply(source) - target).abs().mean()


def test_fit_follows_a_curve_over_luma() -> None:
    source = torch.linspace(0, 1, 4096).view(1, 1, 64, 64).expand(1, 3, 64, 64)
    target = source**2.2
    one = AffineGrid.fit(source, target, depth=1, height=1, width=1)
    many = AffineGrid.fit(source, target, depth=16, height=1, width=1)
    assert (one.apply(source) - target).abs().max() > 10 / 255
    assert (many.apply(source) - target).abs().max() < 3 / 255
    assert (many.apply(source) - target).abs().mean() < 0.5 / 255


def test_empty_cells_take_the_global_fit(generator: torch.Generator) -> None:
    source, weight = torch.rand(1, 3, 64, 64, generator=generator), torch.zeros(1, 1, 64, 64)
    weight[..., :16, :16] = 1
    grid = AffineGrid.fit(source, source * 0.5 + 0.2, weight, depth=4, height=8, width=8)
    far = grid.matrix[0, :, :, 0, 7, 7]
    expected = torch.tensor([[0.5, 0, 0, 0.2], [0, 0.5, 0, 0.2], [0, 0, 0.5, 0.2]])
    assert (far - expected).abs().max() < 1e-3


def test_without_evidence_the_fit_is_identity(generator: torch.Generator) -> None:
    source = torch.rand(1, 3, 16, 16, generator=generator)
    grid = AffineGrid.fit(source, source * 0, torch.zeros(1, 1, 16, 16), depth=2, height=2, width=2)
    assert torch.allclose(grid.matrix, torch.eye(3, 4).view(1, 3, 4, 1, 1, 1).expand_as(grid.matrix), atol=1e-6)


def test_fit_of_one_flat_colour_moves_it_and_stays_near_identity() -> None:
    source = torch.full((1, 3, 16, 16), 0.4)
    target = torch.full((1, 3, 16, 16), 0.5)
    grid = AffineGrid.fit(source, target, depth=4, height=4, width=4)
    assert (grid.apply(source) - target).abs().max() < 1 / 255
    assert (grid.matrix - torch.eye(3, 4).view(1, 3, 4, 1, 1, 1)).abs().max() < 0.15


@pytest.mark.parametrize("shape", [(1, 3, 4), (1, 4, 3, 1, 1, 1)])
def test_a_matrix_of_another_shape_is_rejected(shape: tuple[int, ...]) -> None:
    with pytest.raises(AssertionError, match="matrix is"):
        AffineGrid(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(1, 1, 1), (8, 1, 1), (1, 4, 3), (4, 5, 6)])
def test_composing_with_a_matrix_equals_applying_both(shape: tuple[int, int, int], generator: torch.Generator) -> None:
    image = 0.3 + 0.4 * torch.rand(1, 3, 20, 30, generator=generator)
    near = torch.eye(3, 4).view(1, 3, 4, 1, 1, 1) + 0.05 * torch.randn(1, 3, 4, *shape, generator=generator)
    first = AffineGrid(near)
    matrix = AffineGrid.uniform(torch.eye(3, 4)[None] + 0.05 * torch.randn(1, 3, 4, generator=generator))
    torch.testing.assert_close(first.then(matrix).apply(image), matrix.apply(first.apply(image)), rtol=0, atol=1e-5)
    flat = AffineGrid(near[:, :, :, :1])  # does not depend on luma, so it may come second
    torch.testing.assert_close(matrix.then(flat).apply(image), flat.apply(matrix.apply(image)), rtol=0, atol=1e-5)


def test_composing_two_maps_over_the_image_is_exact_at_the_cells_centres(generator: torch.Generator) -> None:
    first, second = (AffineGrid(torch.randn(1, 3, 4, 1, 4, 6, generator=generator)) for _ in range(2))
    image = torch.rand(1, 3, 4, 6, generator=generator)  # a pixel a cell
    both = first.then(second)
    rows = torch.cat([first.matrix, torch.tensor([0.0, 0, 0, 1]).view(1, 1, 4, 1, 1, 1).expand(1, 1, 4, 1, 4, 6)], 1)
    assert torch.allclose(both.matrix, torch.einsum("bijdyx,bjkdyx->bikdyx", second.matrix, rows), atol=1e-5)
    assert both.apply(image).shape == image.shape
    with pytest.raises(AssertionError, match="luma cells"):
        first.then(AffineGrid(torch.zeros(1, 3, 4, 2, 1, 1)))
