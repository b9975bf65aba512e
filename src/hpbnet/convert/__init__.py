"""Convert published weights to hpbnet's own format."""

from .mobile_stylegan import convert_mobile_stylegan
from .stylegan2 import convert_stylegan2

__all__ = ["convert_mobile_stylegan", "convert_stylegan2"]
