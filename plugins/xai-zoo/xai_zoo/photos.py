"""Photographs from the scikit-image package."""

from xai_core.plugin import DatasetSource, UnknownDatasetError, suggest
from xai_zoo.image_files import ImageFile, ImageFiles
from xai_zoo.installed import installed_file

FILES = {
    "chelsea": "chelsea.png",
    "coffee": "coffee.png",
    "rocket": "rocket.jpg",
    "astronaut": "astronaut.png",
    "motorcycle": "motorcycle_left.png",
}


class Photos(DatasetSource):
    """Color photographs from the scikit-image package: all of them, `photos`, or one, `photos:chelsea`."""

    name = "photos"

    def load(self, name: str | None) -> ImageFiles:  # type: ignore[override] # the registry rejects options
        if name is not None and name not in FILES:
            raise UnknownDatasetError(f"photos has no photograph {name!r}; {suggest(name, FILES)}")
        names = list(FILES) if name is None else [name]
        return ImageFiles([ImageFile(installed_file("scikit-image", f"skimage/data/{FILES[n]}"), n) for n in names])
