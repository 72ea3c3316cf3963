"""Pictures as people have them, and the preprocessing against torchvision's own transforms."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torchvision.transforms as T
from PIL import Image

from convatlas.errors import ConvatlasError
from convatlas.weights import Preprocess, read_picture
from convatlas.weights import pictures as reading

RED, BLUE = (200, 30, 40), (20, 40, 210)


def halves(width: int = 40, height: int = 20) -> Image.Image:
    """Red on the left, blue on the right."""
    picture = Image.new("RGB", (width, height), RED)
    picture.paste(BLUE, (width // 2, 0, width, height))
    return picture


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth random colours."""
    small = np.random.default_rng(seed).integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def saved(path: Path, picture: Image.Image, **options) -> Path:
    picture.save(path, **options)
    return path


def complaint(source) -> str:
    """The one line that says what is wrong with a picture."""
    with pytest.raises(ConvatlasError) as caught:
        read_picture(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- what is read -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "gif", "webp", "jpg", "ppm", "tga"])
def test_any_format_gives_rgb(tmp_path, suffix):
    options = {"lossless": True} if suffix == "webp" else {"quality": 95} if suffix == "jpg" else {}
    read = read_picture(saved(tmp_path / f"p.{suffix}", halves(), **options))
    assert read.mode == "RGB"
    assert np.abs(np.asarray(read, int) - np.asarray(halves(), int)).mean() < 6


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "La", "RGBa"]
)
def test_any_mode_gives_rgb_of_the_same_size(mode):
    if mode in ("PA", "La", "RGBa"):
        base = {"PA": "P", "La": "LA", "RGBa": "RGBA"}[mode]
        source = halves().convert(base).convert(mode)
    else:
        source = halves().convert(mode)
    read = read_picture(source)
    assert (read.mode, read.size) == ("RGB", (40, 20))


def test_a_cmyk_jpeg_keeps_its_colours(tmp_path):
    read = read_picture(saved(tmp_path / "p.jpg", halves().convert("CMYK"), quality=95))
    assert np.abs(np.asarray(read, int) - np.asarray(halves(), int)).mean() < 6


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path, suffix):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    read = read_picture(saved(tmp_path / f"p.{suffix}", Image.fromarray(ramp)))
    assert np.array_equal(np.asarray(read)[..., 0].ravel(), np.arange(256))


def test_big_endian_sixteen_bits_are_scaled_too():
    ramp = np.linspace(0, 65535, 256).astype(">u2").reshape(16, 16)
    picture = Image.frombytes("I;16B", (16, 16), ramp.tobytes())
    assert np.array_equal(np.asarray(read_picture(picture))[..., 0].ravel(), np.arange(256))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0.0, 0.5], [1.0, 0.25]], np.float32), [0, 128, 255, 64]),  # floats in [0, 1]
        (np.array([[0.0, 100.0], [255.0, 3.0]], np.float32), [0, 100, 255, 3]),  # floats in [0, 255]
        (np.array([[-1.0, 0.0], [1.0, np.nan]], np.float32), [0, 128, 255, 128]),  # of any other range
        (np.array([[0, 100], [255, 3]], np.int32), [0, 100, 255, 3]),
        (np.array([[0, 25700], [65535, 257]], np.int32), [0, 100, 255, 1]),
        (np.array([[-5, 0], [5, 0]], np.int32), [0, 128, 255, 128]),
    ],
)
def test_floats_and_wide_integers_are_brought_to_eight_bits(tmp_path, values, expected):
    read = read_picture(saved(tmp_path / "p.tif", Image.fromarray(values)))
    assert np.asarray(read)[..., 0].ravel().tolist() == expected


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white(tmp_path, mode):
    picture = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    picture.paste((255, 0, 0, 255), (0, 0, 4, 8))
    if mode == "P":
        flat = picture.convert("RGB").quantize(4)
        read = read_picture(saved(tmp_path / "p.png", flat, transparency=flat.getpixel((7, 0))))
    else:
        read = read_picture(saved(tmp_path / "p.png", picture.convert(mode)))
    assert read.getpixel((6, 4)) == (255, 255, 255)
    assert read.getpixel((1, 4)) != (255, 255, 255)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_exif_says(tmp_path, orientation, suffix):
    ways = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # what undoes it is PIL's Transpose of this number
    picture = halves(64, 32)
    picture.paste((250, 250, 250), (0, 0, 16, 8))
    undone = {3: 3, 6: 2, 8: 4}.get(orientation, ways.get(orientation))
    stored = picture if orientation == 1 else picture.transpose(Image.Transpose(undone))
    exif = Image.Exif()
    exif[0x0112] = orientation
    read = read_picture(saved(tmp_path / f"p.{suffix}", stored, exif=exif, quality=95))
    assert read.size == (64, 32)
    assert np.abs(np.asarray(read, int) - np.asarray(picture, int)).mean() < 8


def test_an_exif_that_cannot_be_read_says_nothing(tmp_path):
    path = saved(tmp_path / "p.jpg", halves(), exif=b"Exif\x00\x00MM\x00*\x00\x00\xff\xff broken")
    assert read_picture(path).size == (40, 20)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_of_an_animation_the_first_frame_is_read(tmp_path, suffix):
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, BLUE)]
    path = saved(tmp_path / f"p.{suffix}", frames[0], save_all=True, append_images=frames[1:])
    red, _, blue = read_picture(path).getpixel((8, 8))
    assert red > blue


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size(tmp_path, monkeypatch):
    path = saved(tmp_path / "p.jpg", halves(800, 400))
    monkeypatch.setattr(reading, "REDUCE_ABOVE", 100_000)
    monkeypatch.setattr(reading, "REDUCED_SIDE", 150)
    read = read_picture(path)
    assert read.size == (400, 200)
    assert read.getpixel((10, 100))[0] > 150


def test_a_jpeg_beyond_pils_limit_is_read_at_a_fraction(tmp_path, monkeypatch):
    path = saved(tmp_path / "p.jpg", halves(1600, 800))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)
    monkeypatch.setattr(reading, "REDUCE_ABOVE", 100_000)
    monkeypatch.setattr(reading, "REDUCED_SIDE", 100)
    assert read_picture(path).size == (200, 100)


def test_reading_warns_of_nothing(tmp_path, monkeypatch):
    path = saved(tmp_path / "p.png", halves(400, 400))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_picture(path).size == (400, 400)


@pytest.mark.parametrize("convert", [str, Path, os.fsencode])
def test_a_path_may_be_text_or_a_path(tmp_path, convert):
    path = saved(tmp_path / "p.png", halves())
    if convert is os.fsencode:
        assert "no file" in complaint(str(path) + "x")
    else:
        assert read_picture(convert(path)).size == (40, 20)


@pytest.mark.parametrize(
    "array",
    [
        np.asarray(halves()),
        np.asarray(halves()).astype(np.uint16) * 257,
        np.asarray(halves()) / 255,
        np.asarray(halves()).astype(np.int64),
        np.dstack([np.asarray(halves()), np.full((20, 40), 255, np.uint8)]),
    ],
    ids=["uint8", "uint16", "float", "int64", "alpha"],
)
def test_arrays_are_pictures_too(array):
    assert np.array_equal(np.asarray(read_picture(array)), np.asarray(halves()))


def test_grey_and_boolean_arrays_are_pictures_too():
    assert read_picture(np.full((4, 6), 7, np.uint8)).getpixel((0, 0)) == (7, 7, 7)
    assert read_picture(np.full((4, 6, 1), 7, np.uint8)).size == (6, 4)
    assert read_picture(np.ones((4, 6), bool)).getpixel((0, 0)) == (255, 255, 255)


# ---- what is refused --------------------------------------------------------------------------------------


def test_a_missing_file_a_folder_an_empty_file_and_an_address_are_refused(tmp_path):
    (tmp_path / "empty.png").touch()
    assert "no file" in complaint(tmp_path / "none.png")
    assert "folder" in complaint(tmp_path)
    assert "empty" in complaint(tmp_path / "empty.png")
    assert "address" in complaint("https://example.org/cat.jpg")
    os.mkfifo(tmp_path / "pipe.png")
    assert "no ordinary file" in complaint(tmp_path / "pipe.png")


def test_a_text_that_is_called_a_picture_is_refused(tmp_path):
    (tmp_path / "p.jpg").write_text("this is no picture")
    assert "no picture" in complaint(tmp_path / "p.jpg")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tif"])
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_truncated_picture_is_refused(tmp_path, suffix, share):
    path = saved(tmp_path / f"p.{suffix}", noise(200, 150))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert str(path) in complaint(path)


def test_damaged_bytes_are_refused_or_read_but_never_crash(tmp_path):
    random = np.random.default_rng(0)
    for suffix in ("jpg", "png", "webp", "gif", "tif", "bmp"):
        whole = np.frombuffer(saved(tmp_path / f"p.{suffix}", noise(64, 48)).read_bytes(), np.uint8)
        for _ in range(40):
            broken = whole.copy()
            places = random.integers(0, len(broken), 8)
            broken[places] = random.integers(0, 256, 8)
            path = tmp_path / f"broken.{suffix}"
            path.write_bytes(broken.tobytes())
            try:
                said = read_picture(path).mode
            except ConvatlasError as error:
                said = str(error)
            assert "\n" not in said


def test_an_enormous_picture_is_refused(tmp_path):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    said = complaint(path)
    assert "too large" in said
    assert "10,000,000,000 pixels" in said
    assert "attack" not in said


def test_a_jpeg_too_large_at_its_smallest_is_refused(tmp_path, monkeypatch):
    path = saved(tmp_path / "p.jpg", halves(1600, 800))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    monkeypatch.setattr(reading, "REDUCE_ABOVE", 1000)
    assert "too large" in complaint(path)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 8, 8), np.uint8),
        np.zeros(5),
        np.zeros((0, 4, 3), np.uint8),
        np.full((4, 4, 3), 2.5),
        np.full((4, 4), np.nan),
        np.full((4, 4), -1),
        np.full((4, 4), 1j),
        np.array([["a"]]),
    ],
)
def test_arrays_that_are_no_pictures_are_refused(array):
    assert "no picture" in complaint(array)


def test_a_truncated_picture_object_is_refused():
    data = io.BytesIO()
    noise(200, 150).save(data, "JPEG")
    assert "cut off" in complaint(Image.open(io.BytesIO(data.getvalue()[:2000])))


# ---- preprocessing ----------------------------------------------------------------------------------------

MODES = {"bilinear": T.InterpolationMode.BILINEAR, "bicubic": T.InterpolationMode.BICUBIC}


@pytest.mark.parametrize("size", [(640, 480), (480, 641), (200, 300), (225, 224), (256, 256), (37, 1000), (10, 10)])
@pytest.mark.parametrize(("resize", "crop"), [(256, 224), (232, 224), (342, 299), (224, 224), (200, 224)])
@pytest.mark.parametrize("interpolation", MODES)
def test_preprocessing_is_torchvisions_to_the_last_bit(size, resize, crop, interpolation):
    picture = noise(*size)
    ours = Preprocess(crop, resize, interpolation)
    theirs = T.Compose([
        T.Resize(resize, MODES[interpolation]),
        T.CenterCrop(crop),
        T.ToTensor(),
        T.Normalize(ours.mean, ours.std),
    ])  # fmt: skip
    if max(size) > 8 * min(size):  # a strip: cut before it is enlarged, so that the edges of what is left may differ
        assert np.abs(ours(picture) - theirs(picture).numpy()).mean() < 0.02
    else:
        assert np.array_equal(ours(picture), theirs(picture).numpy())


def test_squashing_is_torchvisions_resize_to_two_sides():
    picture = noise(300, 200)
    theirs = T.Compose([T.Resize((224, 224)), T.ToTensor(), T.Normalize((0.5,) * 3, (0.5,) * 3)])
    ours = Preprocess(224, 224, mean=(0.5,) * 3, std=(0.5,) * 3, mode="squash")
    assert np.array_equal(ours(picture), theirs(picture).numpy())


def test_scale_and_order_of_the_channels():
    picture = Image.new("RGB", (4, 4), (10, 20, 30))
    lite = Preprocess(4, None, mean=(127,) * 3, std=(128,) * 3, scale=1)
    assert lite(picture)[:, 0, 0] == pytest.approx([(v - 127) / 128 for v in (10, 20, 30)])
    caffe = Preprocess(4, None, mean=(1, 2, 3), std=(1, 1, 1), scale=1, order="BGR")
    assert caffe(picture)[:, 0, 0].tolist() == [29, 18, 7]
    grey = Preprocess(4, None, mean=(0,), std=(1,), order="L")
    assert grey(Image.new("L", (4, 4), 255)).tolist() == [[[1.0] * 4] * 4]


def test_what_is_returned_is_contiguous_float32_of_the_crop():
    for order in ("RGB", "BGR"):
        values = Preprocess(order=order)(noise(300, 260))
        assert (values.dtype, values.shape) == (np.float32, (3, 224, 224))
        assert values.flags["C_CONTIGUOUS"]
    assert Preprocess().grey()(noise(300, 260)).shape == (1, 224, 224)


def test_the_preview_is_what_the_network_sees():
    preprocess = Preprocess(mean=(0,) * 3, std=(1,) * 3)
    seen = np.asarray(preprocess.picture(noise(500, 300))) / np.float32(255)
    assert np.array_equal(preprocess(noise(500, 300)).transpose(1, 2, 0), seen.astype(np.float32))


def test_a_strip_of_one_pixel_does_not_fill_the_memory():
    assert Preprocess()(Image.new("RGB", (1, 100_000))).shape == (3, 224, 224)


def test_another_size_keeps_the_share_that_is_cut_off():
    assert (Preprocess().at(448).crop, Preprocess().at(448).resize) == (448, 512)
    assert (Preprocess().at(32).crop, Preprocess().at(32).resize) == (32, 32)


def test_the_pictures_of_a_folder_are_those_that_can_be_read(tmp_path):
    for name in ("10.png", "9.JPG", ".hidden.png", "paper.pdf", "notes.txt", "map.palm"):
        (tmp_path / name).touch()
    assert [path.name for path in reading.in_folder(tmp_path)] == ["9.JPG", "10.png"]


def test_a_picture_that_is_too_large_for_its_format_is_not_written(tmp_path):
    with pytest.raises(ConvatlasError, match=r"long\.webp cannot be written"):
        reading.write_picture(Image.new("RGB", (1, 17_000)), tmp_path / "long.webp")
    assert list(tmp_path.iterdir()) == []
