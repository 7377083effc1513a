import pytest

from data.cache.settings import CacheSettings


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dtype", "int8"),
        ("views", 0),
        ("label_stride", 0),
        ("workers", 0),
        ("batch_size", 0),
        ("scales", ()),
        ("local", "here/"),
    ],
)
def test_a_setting_out_of_range_is_named(field, value):
    with pytest.raises(ValueError, match=f"cache.{field} must be"):
        CacheSettings(**{"folder": "here", field: value})
