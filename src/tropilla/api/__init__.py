"""What a Python caller uses; everything here is exported by the package itself."""

from tropilla.api.model import Model, load
from tropilla.api.pieces import Piece, Reply, SampledToken, TokenLogprob, Usage

__all__ = ["Model", "Piece", "Reply", "SampledToken", "TokenLogprob", "Usage", "load"]
