"""A user's own pictures and arrays become images; whatever does not fit is one line that says what to type."""

import os
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from disvae.data import pictures
from disvae.dataset.images import OwnImages

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
GREY = COLOUR[..., 0]


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("DISVAE_CACHE_DIR", str(tmp_path / "cache"))


def save(path: Path, pixels: np.ndarray, **how) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **how)
    return path


@pytest.fixture
def folder(tmp_path):
    """Six pictures of two classes, the second one level deeper."""
    for i, pixels in enumerate(COLOUR):
        save(tmp_path / "mine" / ("cat" if i < 4 else "dog/young") / f"{i}.png", pixels)
    return tmp_path / "mine"


def stored(data: OwnImages) -> np.ndarray:
    """Pixels (N, H, W, C)."""
    return data.images.data.numpy().transpose(0, 2, 3, 1)


def refusal(**settings) -> str:
    with pytest.raises(ValueError, match=r"^.+$") as error:
        OwnImages(**settings)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_folders_are_classes_and_pixels_are_kept(folder):
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_text("no picture")
    data = OwnImages(str(folder))
    assert np.array_equal(stored(data), COLOUR)
    assert data.factors[:, 0].tolist() == [0, 0, 0, 0, 1, 1]
    assert (data.factor_names, data.factor_sizes) == (("class",), (2,))
    assert data.class_names == {"class": ("cat", "dog")}
    x = data.images.take(torch.tensor([5]))
    assert torch.equal(x[0], torch.from_numpy(COLOUR[5]).permute(2, 0, 1) / 255)


def test_pictures_without_folders_have_no_class(tmp_path):
    for i, pixels in enumerate(GREY):
        save(tmp_path / "mine" / f"{i}.png", pixels)
    data = OwnImages(str(tmp_path / "mine"))
    assert data.x_shape == (1, 8, 8), "grey pictures stay grey"
    assert data.factors.shape == (6, 0)
    assert OwnImages(str(tmp_path / "mine"), channels=3).x_shape == (3, 8, 8)


def test_a_folder_is_read_once_and_again_when_it_changes(folder, monkeypatch):
    first = OwnImages(str(folder))
    with monkeypatch.context() as patch:
        patch.setattr(pictures, "decode", None)
        assert OwnImages(str(folder)).checksum == first.checksum
    save(folder / "dog" / "9.png", COLOUR[0])
    assert len(OwnImages(str(folder)).images) == 7


def test_lost_or_cut_pixels_are_read_again(folder, tmp_path, caplog):
    first = OwnImages(str(folder))
    (pixels,) = (tmp_path / "cache").glob("*.pixels")
    pixels.write_bytes(pixels.read_bytes()[:-1])
    assert OwnImages(str(folder)).checksum == first.checksum
    assert "making it again" in caplog.text
    pixels.unlink()
    assert OwnImages(str(folder)).checksum == first.checksum


def test_a_batch_may_be_written_to_without_changing_the_cache(folder):
    data = OwnImages(str(folder))
    data.images.data.zero_()
    assert np.array_equal(stored(OwnImages(str(folder))), COLOUR)


def test_resizing_is_pillows_of_the_middle_square(tmp_path):
    wide = RNG.integers(0, 256, (16, 24), dtype=np.uint8)
    for name in "ab":
        save(tmp_path / "mine" / f"{name}.png", wide)
    expected = Image.fromarray(wide).resize((8, 8), Image.Resampling.LANCZOS, box=(4, 0, 20, 16))
    assert np.array_equal(stored(OwnImages(str(tmp_path / "mine"), size=8))[1, ..., 0], np.asarray(expected))


@pytest.mark.parametrize(
    ("name", "pixels", "how", "shown"),
    [
        ("levels16.png", np.array([[0, 257], [257 * 100, 65535]], np.uint16), {}, [[0, 1], [100, 255]]),
        ("alpha.png", np.array([[[9, 9, 9, 255], [9, 9, 9, 0]]] * 2, np.uint8), {}, [[9, 255]] * 2),
        ("palette.gif", np.array([[0, 255], [255, 0]], np.uint8), {}, [[0, 255], [255, 0]]),
        ("bits.png", np.array([[True, False]] * 2), {}, [[255, 0]] * 2),
    ],
)
def test_every_kind_of_picture_is_read_as_it_looks(tmp_path, name, pixels, how, shown):
    for place in ("a", "b"):
        save(tmp_path / "mine" / place / name, pixels, **how)
    assert stored(OwnImages(str(tmp_path / "mine"), channels=1))[0, ..., 0].tolist() == shown


def test_a_picture_is_turned_as_its_camera_was(tmp_path):
    exif = Image.Exif()
    exif[pictures.ORIENTATION] = 6  # a quarter turn
    for name in "ab":
        save(tmp_path / "mine" / f"{name}.jpg", np.zeros((8, 16), np.uint8), exif=exif)
    assert OwnImages(str(tmp_path / "mine")).x_shape == (1, 16, 8)


def test_broken_pictures_are_named_or_left_out(folder, caplog):
    (folder / "cat" / "text.png").write_text("no picture")
    cut = save(folder / "dog" / "cut.png", RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    cut.write_bytes(cut.read_bytes()[:150])
    assert re.search(r"1 of 8 pictures .*cat/text.png \(not a picture .*skip_broken=true", refusal(path=str(folder)))
    data = OwnImages(str(folder), skip_broken=True)
    assert np.array_equal(stored(data), COLOUR)
    assert data.factors[:, 0].tolist() == [0, 0, 0, 0, 1, 1]
    assert "dog/cut.png" in caplog.text
    (folder / "cat" / "text.png").unlink()
    (folder / "cat" / "lost.png").symlink_to(folder / "none.png")
    assert "1 of 8 pictures cannot be read: cat/lost.png (a link to a file that is missing); " in refusal(
        path=str(folder)
    )
    (folder / "cat" / "lost.png").unlink()
    assert "1 of 7 pictures cannot be read: dog/cut.png (" in refusal(path=str(folder))


def test_no_path_and_a_folder_that_cannot_be_read_are_refused(folder, monkeypatch):
    assert "got none" in refusal(path="")

    def denied(place):
        raise PermissionError(13, "Permission denied", str(place))

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(OSError, match="Permission denied"):
        OwnImages(str(folder))


def test_a_picture_of_too_many_pixels_is_broken(folder, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 63)
    assert "none of the 6 pictures can be read: cat/0.png (more than 63 pixels)" in refusal(path=str(folder))


def test_pictures_that_do_not_fit_together_say_what_to_type(folder):
    save(folder / "dog" / "big.png", np.zeros((9, 8), np.uint8))
    said = "must have one size, got cat/0.png with 8 x 8 and dog/big.png with 8 x 9: type dataset.size=64"
    assert said in refusal(path=str(folder))
    assert OwnImages(str(folder), size=8).x_shape == (3, 8, 8)
    save(folder / "loose.png", COLOUR[0])
    assert "loose.png beside dog/: move it into the folder of its class" in refusal(path=str(folder), size=8)


def test_too_few_pictures(tmp_path):
    assert "must be a folder of pictures, or an .npz" in refusal()
    assert "got /none" in refusal(path="/none")
    (tmp_path / "mine").mkdir()
    assert "at least 2 pictures (*.png, *.jpg" in refusal(path=str(tmp_path / "mine"))
    one = save(tmp_path / "mine" / "a.png", GREY[0])
    assert "with 1" in refusal(path=str(tmp_path / "mine"))
    one.with_name("b.png").write_text("no picture")
    assert "got a.png only" in refusal(path=str(tmp_path / "mine"), skip_broken=True)
    np.savez(tmp_path / "one.npz", images=GREY[:1])
    assert "images must be at least 2, got 1" in refusal(path=str(tmp_path / "one.npz"))
    assert "dataset.size=64" in refusal(path=str(tmp_path), size=0)


def write(path: Path, **arrays: np.ndarray) -> str:
    if path.suffix == ".npy":
        np.save(path, arrays["images"])
    elif path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array.astype(h5py.string_dtype()) if array.dtype.kind == "U" else array
    return str(path)


@pytest.mark.parametrize("name", ["a.npz", "a.npy", "a.h5"])
@pytest.mark.parametrize(
    "images",
    [GREY, COLOUR, COLOUR.transpose(0, 3, 1, 2).copy(), COLOUR / 255, (GREY / 255).astype(np.float32), GREY > 127],
    ids=["grey", "last", "first", "float64", "float32", "bool"],
)
def test_every_layout_has_the_same_pixels(tmp_path, name, images):
    pixels = stored(OwnImages(write(tmp_path / name, images=images)))
    if images.dtype == bool:
        assert np.array_equal(pixels[..., 0], 255 * images)
    else:
        assert np.array_equal(pixels, COLOUR if pixels.shape[3] == 3 else GREY[..., None])


def test_array_files_are_resized_and_zeros_and_ones_are_black_and_white(tmp_path):
    path = write(tmp_path / "a.npz", images=(GREY > 127).astype(np.uint8))
    assert set(np.unique(stored(OwnImages(path)))) == {0, 255}
    assert OwnImages(path, size=4, channels=3).images.data.shape == (6, 3, 4, 4)


@pytest.mark.parametrize("name", ["a.npz", "a.h5"])
def test_labels_and_factors_come_with_names(tmp_path, name):
    strings = np.array(["dog", "cat", "dog", "dog", "cat", "cat"])
    data = OwnImages(write(tmp_path / name, images=GREY, labels=strings))
    assert data.factors[:, 0].tolist() == [1, 0, 1, 1, 0, 0]
    assert (data.factor_names, data.class_names) == (("label",), {"label": ("cat", "dog")})
    numbered = {"labels": np.array([1, 2, 1, 1, 2, 2]), "class_names": np.array(["none", "dog", "cat"])}
    data = OwnImages(write(tmp_path / f"b{name}", images=GREY, **numbered))
    assert (data.factor_sizes, data.class_names) == ((2,), {"label": ("dog", "cat")})
    factors = np.stack([np.arange(6) % 2, np.arange(6) % 3 * 10.0, np.full(6, 4)], axis=1)
    names = np.array(["side", "angle", "constant"])
    data = OwnImages(write(tmp_path / f"c{name}", images=GREY, factors=factors, factor_names=names))
    assert (data.factor_names, data.factor_sizes) == (("side", "angle"), (2, 3))
    assert data.factors.dtype == np.int64


def test_a_continuous_factor_keeps_its_values(tmp_path):
    factors = np.stack([np.arange(6) % 2, np.linspace(0, 1, 6)], axis=1)
    data = OwnImages(write(tmp_path / "a.npz", images=GREY, factors=factors))
    assert np.array_equal(data.factors, factors)
    assert data.factor_sizes == (2, 0)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"images": GREY, "labels": np.arange(5)}, r"labels must have 6 rows, one for each image, got \(5,\)"),
        ({"images": GREY, "labels": np.arange(6), "factors": np.arange(6)}, "labels or factors, got both"),
        ({"images": GREY, "labels": np.arange(6), "class_names": np.array(["a"])}, "class_names must name .* got 1"),
        ({"images": GREY, "factors": np.eye(6), "factor_names": np.array(["a"])}, "factor_names must be 6 different"),
        ({"images": GREY, "labels": np.array([0, 1, 2, 3, np.nan, 4])}, "label must be finite, got nan in row 4"),
        ({"images": GREY, "labels": np.zeros(6, complex)}, "must be numbers or strings, got complex128"),
        ({"images": np.where(GREY[2, 0, 0] == GREY, np.nan, GREY / 255)}, "must be finite, got nan in image [0-2]:"),
        ({"images": GREY.astype(float)}, r"must be in \[0, 1\], got .* to 25\d: divide them by 255"),
        ({"images": GREY / 255 - 0.5}, r"must be in \[0, 1\], got -0.5 to .*: rescale them"),
        ({"images": GREY.astype(int)}, "must be uint8, or floating-point .* got int64: type images.astype"),
        ({"images": GREY[0]}, r"must be \(N, H, W\), .* got \(8, 8\)"),
        ({"images": np.zeros((6, 8, 8, 4), np.uint8)}, r"with C 1 or 3, got \(6, 8, 8, 4\)"),
        ({"images": GREY[:0]}, r"got \(0, 8, 8\)"),
        ({"x_train": GREY}, "must have an array `images`, got x_train: name it images"),
    ],
)
def test_a_wrong_array_is_one_line(tmp_path, arrays, said):
    message = refusal(path=write(tmp_path / "a.npz", **arrays))
    assert re.search(said, message), message
    assert str(tmp_path) in message


def test_another_file_is_one_line(tmp_path):
    (tmp_path / "a.npz").write_text("no archive")
    assert "cannot be read (expected an HDF5 or NPZ file, found neither)" in refusal(path=str(tmp_path / "a.npz"))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = h5py.ExternalLink("/etc/passwd", "images")
    assert "expected images inside the file, found a link" in refusal(path=str(tmp_path / "a.h5"))
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("images", (10, 1 << 14, 1 << 14), "u1")
    assert "one image must have at most" in refusal(path=str(tmp_path / "b.h5"))
