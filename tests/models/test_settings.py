import pytest

from models.settings import BackboneSettings, CellSettings


@pytest.mark.parametrize(("field", "value"), [("filters", 0), ("output_stride", 32), ("bn_momentum", 0.0), ("dropout", 1.0)])
def test_a_setting_of_cells_that_is_out_of_range_is_named(field, value):
    with pytest.raises(ValueError, match=f"cell.{field} must be"):
        CellSettings(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [("output_stride", 32), ("pad_type", "valid"), ("mean", (0.5,)), ("std", (0.5, 0.5)), ("std", (0.5, 0.5, 0.0))],
)
def test_a_setting_of_the_backbone_that_is_out_of_range_is_named(field, value):
    with pytest.raises(ValueError, match=f"backbone.{field} must be"):
        BackboneSettings("local", **{field: value})
