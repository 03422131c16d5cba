"""Recipes: what ships loads, and what is wrong is refused by name."""

import dataclasses
import json

import pytest

from gaea.errors import InputError
from gaea.finetune import recipe
from gaea.finetune.nano import NanoRecipe


def write(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def refused(tmp_path, text):
    with pytest.raises(InputError) as caught:
        recipe.load(write(tmp_path, text), NanoRecipe)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["nano", "tiny"])
def test_shipped_recipes_load_and_their_parts_fit_together(name):
    config = recipe.load(name, NanoRecipe)
    shape, tower = config.shape, config.tower
    assert (shape.vision_width, shape.vision_layers) == (tower.width, tower.layers)
    assert (shape.image_size, shape.patch_size) == (tower.image_size, tower.patch_size)
    assert shape.vision_embed_dim == tower.embed_dim == config.encoder.embed_dim
    assert isinstance(config.crops.width_km, tuple)
    assert config.crops.size >= config.encoder.image_size


def test_what_is_left_out_keeps_its_default(tmp_path):
    config = recipe.load(write(tmp_path, "seed: 7\nencoder: {steps: 3, augment: {haze_share: 0}}"), NanoRecipe)
    assert (config.seed, config.encoder.steps, config.encoder.augment.haze_share) == (7, 3, 0)
    assert dataclasses.replace(config, seed=0, encoder=NanoRecipe().encoder) == NanoRecipe()
    assert recipe.load(write(tmp_path, ""), NanoRecipe) == NanoRecipe()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("polo: 3", "mine.yaml: unknown key 'polo'; did you mean 'pool'?"),
        ("encoder: {stepz: 3}", "mine.yaml: encoder: unknown key 'stepz'; did you mean 'steps'?"),
        ("encoder: {augment: {fog: 3}}", "mine.yaml: encoder: augment: unknown key 'fog'; known keys: strong_share,"),
        ("pool: many", "mine.yaml: pool is 'many', expected int"),
        ("pool: 1.5", "mine.yaml: pool is 1.5, expected int"),
        ("pool: true", "mine.yaml: pool is True, expected int"),
        ("pool: null", "mine.yaml: pool is None, expected int"),
        ("imagery: 3", "mine.yaml: imagery is 3, expected str"),
        ("cache: 3", "mine.yaml: cache is 3, expected str | None"),
        ("encoder: 5", "mine.yaml: encoder is 5, expected a mapping of settings"),
        ("encoder: {learning_rate: fast}", "mine.yaml: encoder: learning_rate is 'fast', expected float"),
        ("crops: {width_km: 100}", "mine.yaml: crops: width_km is 100, expected a list of 2"),
        ("crops: {width_km: [100]}", "mine.yaml: crops: width_km is [100], expected a list of 2"),
        ("crops: {width_km: [100, wide]}", "mine.yaml: crops: width_km is [100, 'wide'], expected a list of 2"),
        ("[1, 2]", "mine.yaml holds a list: a recipe is a mapping of settings"),
        ("pool: [1", "mine.yaml is no YAML: "),
    ],
)
def test_what_does_not_fit_is_refused(text, message, tmp_path):
    assert message in refused(tmp_path, text)


def test_cache_may_be_absent(tmp_path):
    assert recipe.load(write(tmp_path, "cache: null"), NanoRecipe).cache is None


def test_an_unknown_recipe_names_those_that_ship():
    with pytest.raises(InputError, match=r"no recipe at giant: give a YAML file or one of .*nano, tiny"):
        recipe.load("giant", NanoRecipe)


def test_the_resolved_recipe_is_saved_and_builds_itself_again(tmp_path):
    config = recipe.load("tiny", NanoRecipe)
    recipe.save(config, tmp_path / "run" / "recipe.json")
    values = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert recipe.build(NanoRecipe, values, where="recipe.json") == config


def test_the_command_says_one_line_and_exits_2(tmp_path, capsys):
    from gaea.finetune.__main__ import main

    assert main(["nano", "--recipe", str(write(tmp_path, "polo: 1")), "--out", str(tmp_path / "run")]) == 2
    captured = capsys.readouterr()
    assert captured.err == "gaea: mine.yaml: unknown key 'polo'; did you mean 'pool'?\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("changed", "told"), [({"steps": 0}, "steps is 0"), ({"method": "lora"}, "method 'lora'")])
def test_a_language_stage_without_steps_or_of_an_adapter_is_refused(changed, told):
    language = dataclasses.replace(NanoRecipe().language, **changed)
    with pytest.raises(InputError, match=told):
        NanoRecipe(language=language)
