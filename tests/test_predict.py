"""What the pretrained networks say of real photographs, and of files that are none."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import convatlas
from convatlas import weights
from convatlas.deploy.predict import Prediction, predict, predictions
from convatlas.errors import ConvatlasError, UnknownName

skimage = pytest.importorskip("skimage")
PHOTOS = Path(skimage.data_dir)
CHELSEA, COFFEE = PHOTOS / "chelsea.png", PHOTOS / "coffee.png"


@pytest.fixture(scope="module")
def net():
    return convatlas.pretrained("efficientnet_lite0")


def complaint(*args, **options) -> str:
    with pytest.raises(ConvatlasError) as caught:
        predict(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def labels(prediction: Prediction) -> list[str]:
    return [guess.label for guess in prediction.top]


# ---- answers ----------------------------------------------------------------------------------------------


def test_chelsea_is_a_cat_and_coffee_is_espresso():
    cat, coffee = predict([CHELSEA, COFFEE])
    assert labels(cat)[:3] == ["Egyptian cat", "tiger cat", "tabby"]
    assert labels(coffee)[0] == "espresso"
    assert cat.top[0].wnid == "n02124075"
    assert cat.top[0].probability == pytest.approx(0.38, abs=0.01)
    assert coffee.top[0].probability == pytest.approx(0.94, abs=0.01)


def test_the_answers_are_those_of_timms_network_with_the_same_weights(net):
    timm = pytest.importorskip("timm")
    theirs = timm.create_model("tf_efficientnet_lite0").eval()
    package = torch.load(weights.fetch(weights.find("efficientnet_lite0")), weights_only=True)
    # Both name their parameters in the order in which they run.
    theirs.load_state_dict(dict(zip(theirs.state_dict(), package.values(), strict=True)))
    picture = torch.from_numpy(net.weights.preprocess(weights.read_picture(CHELSEA)))[None]
    with torch.no_grad():
        expected = theirs(picture).softmax(1)[0]
    for guess in predict(CHELSEA, net)[0].top:
        index = [label.wnid for label in net.weights.labels].index(guess.wnid)
        assert guess.probability == pytest.approx(expected[index].item(), abs=1e-5)


def test_probabilities_fall_and_all_of_them_sum_to_one(net):
    (prediction,) = predict(COFFEE, net, top=2000)
    given = [guess.probability for guess in prediction.top]
    assert len(given) == 1000
    assert given == sorted(given, reverse=True)
    assert sum(given) == pytest.approx(1, abs=1e-4)


def test_a_batch_gives_what_its_pictures_give_alone(net):
    paths = [CHELSEA, COFFEE, PHOTOS / "rocket.jpg", PHOTOS / "astronaut.png", PHOTOS / "camera.png"]
    together = predict(paths, net, batch=2)
    for path, prediction in zip(paths, together):
        (alone,) = predict(path, net)
        assert labels(alone) == labels(prediction)
        assert prediction.path == str(path)


def test_paths_images_and_arrays_give_the_same_answer(net):
    with Image.open(CHELSEA) as image:
        pictures = [str(CHELSEA), CHELSEA, image, np.asarray(image), np.asarray(image) / 255]
        answers = predict(pictures, net)
    for answer in answers:
        assert labels(answer) == labels(answers[0])
        assert answer.top[0].probability == pytest.approx(answers[0].top[0].probability, abs=1e-5)
    assert [answer.path for answer in answers[2:]] == ["picture 3", "picture 4", "picture 5"]


def test_one_array_is_one_picture_and_a_generator_gives_its_pictures(net):
    with Image.open(CHELSEA) as image:
        assert len(predict(np.asarray(image), net)) == 1
    assert len(predict((path for path in (CHELSEA, COFFEE)), net)) == 2


def test_a_folder_gives_its_pictures_in_natural_order(net, tmp_path):
    for name in ("p10.png", "p9.png", "below/p1.png", ".hidden.png", ".cache/p.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(COFFEE, tmp_path / name)
    (tmp_path / "notes.txt").write_text("not a picture")
    found = [Path(answer.path).relative_to(tmp_path).as_posix() for answer in predict(tmp_path, net)]
    assert found == ["below/p1.png", "p9.png", "p10.png"]


@pytest.mark.parametrize("turned", [True, False])
def test_a_photograph_is_recognised_however_it_is_stored(net, tmp_path, turned):
    with Image.open(COFFEE) as image:
        exif = Image.Exif()
        if turned:
            exif[0x0112] = 3
            image = image.rotate(180)
        image.convert("CMYK").save(tmp_path / "p.jpg", quality=95, exif=exif)
    assert labels(predict(tmp_path / "p.jpg", net)[0])[0] == "espresso"


def test_a_grey_network_sees_grey_pictures():
    net = weights.pretrained("efficientnet_lite0", channels=1)
    (prediction,) = predict(COFFEE, net)
    assert {"espresso", "cup", "coffee mug"} & set(labels(prediction))


def test_a_file_of_weights_answers_with_its_own_classes(tmp_path):
    torch.manual_seed(0)
    torch.save(convatlas.create("efficientnet_lite0", classes=3).state_dict(), tmp_path / "mine.pth")
    (prediction,) = predict(COFFEE, "efficientnet_lite0", tmp_path / "mine.pth")
    assert sorted(labels(prediction)) == ["class 0", "class 1", "class 2"]
    assert {guess.wnid for guess in prediction.top} == {None}


def test_a_network_that_is_lent_comes_back_as_it_was(net):
    net.train()
    frozen = net.trunk.stage2.eval()
    try:
        first, second = predict(CHELSEA, net), predict(CHELSEA, net)
        assert first == second
        assert net.training
        assert not frozen.training
        assert all(parameter.grad is None for parameter in net.parameters())
    finally:
        net.eval()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same_answer():
    on_cpu, on_gpu = predict(CHELSEA), predict(CHELSEA, device="cuda")
    assert labels(on_gpu[0])[:3] == labels(on_cpu[0])[:3]


# ---- what cannot be answered ------------------------------------------------------------------------------


@pytest.fixture
def bad(tmp_path) -> dict[str, Path]:
    """One of each kind of file that is no readable picture."""
    whole = COFFEE.read_bytes()
    files = {"truncated.png": whole[: len(whole) // 2], "text.jpg": b"no picture", "empty.png": b""}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    return {name: tmp_path / name for name in (*files, "missing.png")}


@pytest.mark.parametrize("name", ["truncated.png", "text.jpg", "empty.png", "missing.png"])
def test_a_single_picture_that_cannot_be_read_is_an_error(net, bad, name):
    assert name in complaint(bad[name], net)


@pytest.mark.parametrize("batch", [1, 2, 32])
def test_a_broken_picture_does_not_stop_the_others(net, bad, batch):
    answers = predict([*bad.values(), COFFEE, bad["empty.png"], CHELSEA], net, batch=batch)
    assert [answer.error is None for answer in answers] == [False] * 4 + [True, False, True]
    assert labels(answers[4])[0] == "espresso"
    assert labels(answers[6])[0] == "Egyptian cat"
    for answer in answers[:4]:
        assert answer.top == ()
        assert answer.path in answer.error


def test_nothing_to_predict_is_an_error(net, tmp_path):
    assert "no pictures" in complaint([], net)
    assert "no pictures in" in complaint(tmp_path, net)


def test_a_misspelt_network_or_source_and_missing_weights_are_errors():
    with pytest.raises(UnknownName, match="did you mean 'resnet50'"):
        predict(CHELSEA, "resnet5O")
    assert "unknown weights" in complaint(CHELSEA, "efficientnet_lite0", "timn")
    assert "no file none.pth" in complaint(CHELSEA, "efficientnet_lite0", "none.pth")
    assert "no published weights" in complaint(CHELSEA, "plain18")
    assert "nothing to say" in complaint(CHELSEA, "efficientnet_lite0", "none")


def test_a_checkpoint_of_another_network_and_a_file_that_is_none_are_errors(tmp_path):
    torch.save(convatlas.create("resnet18").state_dict(), tmp_path / "resnet18.pth")
    said = complaint(CHELSEA, "efficientnet_lite0", tmp_path / "resnet18.pth")
    assert said == "these are not efficientnet_lite0's weights but resnet18's"
    shutil.copy(COFFEE, tmp_path / "photo.pth")
    assert "no checkpoint" in complaint(CHELSEA, "efficientnet_lite0", tmp_path / "photo.pth")


def test_a_network_without_weights_or_for_other_pictures_is_an_error():
    assert "no weights" in complaint(CHELSEA, convatlas.create("resnet18"))
    many = weights.pretrained("efficientnet_lite0", channels=5)
    assert "5 channels" in complaint(CHELSEA, many)


@pytest.mark.parametrize("device", ["cuda:99", "tpu-of-mine"])
def test_a_device_that_is_not_there_is_an_error(net, device):
    assert repr(device) in complaint(CHELSEA, net, device=device)


@pytest.mark.parametrize("option", ["top", "batch"])
def test_top_and_batch_are_at_least_one(net, option):
    assert "at least 1" in complaint(CHELSEA, net, **{option: 0})


def test_predictions_come_one_batch_at_a_time(net):
    first = next(predictions([COFFEE, *["missing.png"] * 3], net, batch=1))
    assert labels(first)[0] == "espresso"
