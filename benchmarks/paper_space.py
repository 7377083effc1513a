"""The space of Chen et al. 2018, section 3.1: 4.2e11 cells."""

from search.deciding.space import AtrousConvs, CellSpace, PointwiseConvs, PyramidPoolings

SPACE = CellSpace(
    5, {"a": PointwiseConvs(), "b": AtrousConvs([1, 3, 6, 9, 12, 15, 18, 21]), "c": PyramidPoolings([1, 2, 4, 8])}
)
