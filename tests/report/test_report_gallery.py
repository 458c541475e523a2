"""The gallery: the stored images, and who was right."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
from PIL import Image

from bitproof.records import Pictures
from bitproof.report.panels.gallery import SIDE
from report_cells import CLEAN, SHOWN, N, attack, cell, jpeg, model
from report_page import Element, exhibits, one


def pixels(picture: Element) -> np.ndarray:
    (image,) = picture.all("img")
    encoded = image.attributes["src"].removeprefix("data:image/png;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))))


def levels(stored: np.ndarray) -> np.ndarray:
    return (stored.astype(np.float32) * 255).round().astype(np.uint8)


def test_the_gallery_shows_the_strongest_conditions(page):
    found = exhibits(page)
    assert list(found) == [
        "pgd-20 linf 16/255 each model has its own adversarial image",
        "jpeg 2 the same image for all models",
        "resize area the same image for all models",
        "resize nearest the same image for all models",
    ]
    counts = [[len(example.all("img")) for example in examples] for examples in found.values()]
    assert counts == [[5] * 3, [3] * 3, [3] * 3, [3] * 3]


def test_the_gallery_shows_the_stored_images_and_says_how_much_it_amplifies(page, cells):
    by_name = {(c.model.name, c.condition.label): c for c in cells}
    examples = exhibits(page)["pgd-20 linf 16/255 each model has its own adversarial image"]
    for example in examples:
        position = int(re.findall(r"#(\d+)", example.text)[0]) - 100 - (N - SHOWN)
        clean, *others = example.all("figure", "picture")
        stored = by_name["float", "clean"].pictures.images[position, 0]
        np.testing.assert_array_equal(pixels(clean), levels(stored))
        for name, (tested, difference) in {"float": others[:2], "w2a2": others[2:]}.items():
            adversarial = by_name[name, "pgd-20 linf 16/255"].pictures.images[position, 0]
            np.testing.assert_array_equal(pixels(tested), levels(adversarial))
            assert f"for {name}" in tested.text
            assert (
                difference.text == "difference \N{MULTIPLICATION SIGN} 20"
            )  # 0.02 grows to 0.4; 50 would exceed the range
            change = adversarial.astype(np.float32) - stored.astype(np.float32)
            np.testing.assert_array_equal(pixels(difference), levels(0.5 + 20 * change))


def test_the_gallery_says_who_was_right(page):
    first, *_ = exhibits(page)["jpeg 2 the same image for all models"]
    # w2a2 has 15 wrong of 40 there, float 3, so of the five stored examples the last three flip for both.
    assert first.all("h5")[0].text == "#137: class-7"
    clean, tested, _ = first.all("figure", "picture")
    confidence = f"{100 * np.linspace(0.5, 0.99, N)[37]:.0f}%"
    verdicts = [" ".join(v.text.split()[1:]) for p in (clean, tested) for v in p.all("span", "verdict")]
    right, wrong = f"✓ class-7 {confidence}", f"✗ class-8 {confidence}"
    assert verdicts == [
        f"float: right, {right}",
        f"w2a2: right, {right}",
        f"float: wrong, {wrong}",
        f"w2a2: wrong, {wrong}",
    ]


def test_changed_outcomes_come_first(tmp_path):
    tested = [cell(model("float"), CLEAN, 1), cell(model("float"), jpeg(1), 2)]
    (examples,) = exhibits(one(tmp_path, tested)).values()
    assert [e.all("h5")[0].text.split(":")[0] for e in examples] == ["#138", "#135", "#136"]


def test_pictures_are_matched_by_id(tmp_path):
    clean, tested = cell(model("float"), CLEAN), cell(model("float"), jpeg(1), 2)
    back = {name: getattr(tested, name)[::-1] for name in ("ids", "labels", "predictions", "confidences")}
    turned = replace(
        tested, **back, pictures=Pictures(rows=N - 1 - tested.pictures.rows, images=tested.pictures.images)
    )
    assert [str(e) for e in one(tmp_path, [clean, turned]).all("section", "exhibit")] == [
        str(e) for e in one(tmp_path, [clean, tested]).all("section", "exhibit")
    ]


def test_an_image_that_was_left_alone_shows_no_difference(tmp_path):
    clean = cell(model("float"), CLEAN, N)
    page = one(tmp_path, [clean, replace(clean, condition=attack(8))])
    captions = [f.text for f in page.all("figure", "picture")]
    assert captions.count("no difference") == 3
    assert np.ptp(pixels(page.all("figure", "picture")[2])) == 0


def test_colour_and_large_images(tmp_path):
    options = {"channels": 3, "side": 2 * SIDE}
    page = one(tmp_path, [cell(model("float"), CLEAN, **options), cell(model("float"), jpeg(1), 2, **options)])
    pictures = page.all("figure", "picture")
    assert {pixels(p).shape for p in pictures} == {(SIDE, SIDE, 3)}
    assert not page.all("img", "pixelated")


def test_a_class_that_the_data_set_does_not_have(tmp_path):
    odd = cell(model("float"), jpeg(1), 3)
    odd.predictions[odd.predictions != odd.labels] = 10
    assert "✗ class 10" in one(tmp_path, [cell(model("float"), CLEAN), odd]).text


def test_without_pictures_there_is_no_gallery(tmp_path):
    none = Pictures(rows=np.arange(0), images=np.zeros((0, 1, 4, 4), np.float16))
    tested = [cell(model("float"), CLEAN), cell(model("float"), jpeg(1))]
    page = one(tmp_path, [replace(c, pictures=none) for c in tested])
    assert not page.all("img") and "What the models saw" not in page.text
