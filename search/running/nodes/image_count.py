"""Counts images across processes. It stands alone: a Ray actor of it loads neither torch nor what extracts features."""


class ImageCount:
    """Images done, counted by all tasks. Those of a shard whose task dies count twice."""

    def __init__(self, images: int) -> None:
        self._images = images

    def add(self, images: int) -> None:
        self._images += images

    def images(self) -> int:
        return self._images
