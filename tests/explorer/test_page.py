"""The page as a browser sees it: pictures equal PyTorch's, sliders move them."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from disvae.config import ConfigError
from disvae.dataset import Dataset, Images
from disvae.encoding import encode, encoding_of
from disvae.explorer.contents import page
from disvae.pictures.figure_data import FigureData
from disvae.vae import VAE
from tests.explorer.decoders import CASES, random_vae

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason=f"no browser: none of {', '.join(NAMES)} is on the PATH")

RESULT = '<pre id="result"></pre>'


class Random(Dataset):
    """30 images of noise with two factors."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.images = Images(torch.rand(30, *shape, generator=torch.Generator().manual_seed(0)), shape)
        self.factors = np.stack([np.arange(30) % 3, np.arange(30) % 5], 1)
        self.factor_names = ("shape", "size</script>")
        self.factor_sizes = (3, 5)
        self.checksum = ""


def view_of(vae: VAE, shape: tuple[int, ...]) -> FigureData:
    dataset, rows = Random(shape), torch.arange(30)
    return FigureData(encoding_of(vae, encode(vae, dataset.images, rows), dataset, rows))


def page_of(vae: VAE, shape: tuple[int, ...]) -> str:
    return page(vae, view_of(vae, shape), name="a </script><b>run", about="noise")


def with_script(text: str, script: str) -> str:
    """A copy of the page that runs `script` after its own; `say(value)` makes a value the result.

    A headless browser whose time is virtual draws one frame and no more: frames are timers here.
    """
    timers = "requestAnimationFrame = draw => setTimeout(() => draw(performance.now()), 16);"
    text = text.replace("<head>", f"<head><script>{timers}</script>")
    say = 'const say = value => { document.getElementById("result").textContent = JSON.stringify(value); };'
    return text.replace("</body>", f"{RESULT}<script>{say}\n{script}</script></body>")


def opened(path: Path, *options: str) -> Any:
    """What the page at `path` said in the browser."""
    assert BROWSER is not None
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=20000"]
    own = f"--user-data-dir={path.parent / 'profile'}"
    command = [BROWSER, *flags, own, *options, "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    found = re.search('<pre id="result">(.+?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:] + done.stdout[-500:]
    return json.loads(html.unescape(found[1]))


@pytest.fixture(scope="module")
def decoded(tmp_path_factory, composed) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By case: pictures (n, H, W, C) that PyTorch decodes, and those that the page decodes, all in one browser."""
    folder = tmp_path_factory.mktemp("pages")
    codes = torch.randn(2, 7, generator=torch.Generator().manual_seed(1)) * 1.5
    expected, frames = {}, ""
    for model, likelihood in CASES:
        vae, shape = random_vae(composed, model, likelihood)
        with torch.no_grad():
            expected[f"{model}-{likelihood}"] = vae.decode(codes).mean.permute(0, 2, 3, 1).numpy()
        name = f"{model}-{likelihood}"
        told = f'parent.postMessage({{name: "{name}", x: {codes.tolist()}.map(z => Array.from(decode(z)))}}, "*");'
        (folder / f"{name}.html").write_text(with_script(page_of(vae, shape), told), encoding="utf-8")
        frames += f'<iframe src="{name}.html"></iframe>'
    collect = f"""<meta charset="utf-8">{RESULT}<script>
        const found = {{}};
        onmessage = event => {{
          found[event.data.name] = event.data.x;
          if (Object.keys(found).length === {len(CASES)})
            document.getElementById("result").textContent = JSON.stringify(found);
        }};</script>{frames}"""
    (folder / "all.html").write_text(collect, encoding="utf-8")
    found = opened(folder / "all.html")
    return {name: (x, np.array(found[name]).reshape(x.shape)) for name, x in expected.items()}


@needs_browser
@pytest.mark.parametrize(("model", "likelihood"), CASES)
def test_the_picture_is_that_of_pytorch(decoded, model, likelihood):
    ours, pages = decoded[f"{model}-{likelihood}"]
    assert ours.std() > 0.1
    np.testing.assert_allclose(pages, ours, atol=1e-4)


@pytest.fixture
def one(composed) -> tuple[VAE, FigureData, str]:
    """A colour VAE, its view and its page; its latents 0 to 4 are active."""
    vae, shape = random_vae(composed, "dcgan", "gaussian_per_pixel")
    last = [layer for layer in vae.model.encoder.modules() if isinstance(layer, torch.nn.Conv2d)][-1]
    torch.nn.init.normal_(last.weight, 0, 1)
    with torch.no_grad():
        last.weight[5:7] = 0
    return vae, view_of(vae, shape), page_of(vae, shape)


SEEN = """
const canvas = id => Array.from(byId(id).getContext("2d").getImageData(0, 0, W, H).data);
const frames = async n => { for (let i = 0; i < n; i++) await new Promise(requestAnimationFrame); };
const rest = milliseconds => new Promise(done => setTimeout(done, milliseconds));
const inputs = [...document.querySelectorAll("input[type=range]")];
"""


@needs_browser
def test_sliders_presets_samples_and_reset_change_the_picture(one, tmp_path):
    vae, view, text = one
    script = (
        SEEN
        + """(async () => {
      const rows = inputs.map(input => input.getAttribute("aria-label"));
      await frames(3); await rest(500); await frames(3);
      const start = canvas("decoded"), real = canvas("real"), ends = inputs.slice(0, 5).map((input, i) =>
        [...input.closest(".latent").querySelectorAll("canvas")].map(
          each => Array.from(each.getContext("2d").getImageData(0, 0, W, H).data)));
      inputs[0].value = inputs[0].max;
      inputs[0].dispatchEvent(new Event("input", {bubbles: true}));
      await frames(3);
      const moved = canvas("decoded"), at = inputs[0].valueAsNumber, code = Array.from(z);
      byId("reset").click(); await frames(3);
      const back = canvas("decoded");
      document.querySelectorAll("#images button")[3].click(); await frames(3);
      const preset = canvas("decoded"), presetReal = canvas("real"), presetCode = Array.from(z);
      byId("sample").click(); await frames(3);
      say({rows, start, real, ends, moved, at, code, back, preset, presetReal, presetCode, sample: Array.from(z),
           hidden: document.querySelector("details").textContent, open: document.querySelector("details").open,
           about: byId("about").textContent, title: document.title, image: byId("real").getAttribute("aria-label")});
    })();"""
    )
    path = tmp_path / "page.html"
    path.write_text(with_script(text, script), encoding="utf-8")
    seen = opened(path)

    def picture(z: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return vae.decode(torch.as_tensor(z, dtype=torch.float32)[None]).mean[0].clamp(0, 1).numpy()

    def shown(pixels: list[int]) -> np.ndarray:
        rgba = np.array(pixels).reshape(32, 32, 4)
        assert (rgba[..., 3] == 255).all()
        return rgba[..., :3].transpose(2, 0, 1) / 255

    order, places, images = view.latents.order, view.sample(12), view.pictures(12).numpy()
    assert [row.split(",")[0] for row in seen["rows"]] == [f"z{d}" for d in order]
    np.testing.assert_allclose(shown(seen["start"]), picture(view.codes[places[0]]), atol=1 / 255)
    np.testing.assert_allclose(shown(seen["real"]), images[0], atol=1 / 255)
    for d, (low, high) in zip(order, seen["ends"], strict=False):
        for pixels, place in ((low, -2.5758), (high, 2.5758)):
            code = view.codes[places[0]].copy()
            code[d] = place
            np.testing.assert_allclose(shown(pixels), picture(code), atol=1.5 / 255)
    code = view.codes[places[0]].copy()
    code[order[0]] = seen["at"]
    np.testing.assert_allclose(seen["code"], code, rtol=1e-6)
    assert np.abs(picture(code) - picture(view.codes[places[0]])).max() > 0.1
    np.testing.assert_allclose(shown(seen["moved"]), picture(code), atol=1 / 255)
    assert seen["back"] == seen["start"]
    np.testing.assert_allclose(seen["presetCode"], view.codes[places[3]], rtol=1e-6)
    np.testing.assert_allclose(shown(seen["preset"]), picture(view.codes[places[3]]), atol=1 / 255)
    np.testing.assert_allclose(shown(seen["presetReal"]), images[3], atol=1 / 255)
    assert np.abs(np.array(seen["sample"])).max() < 5
    assert seen["sample"] != seen["presetCode"]
    assert "2 inactive latents" in seen["hidden"]
    assert not seen["open"]
    assert "5 of 7 latents active" in seen["about"]
    assert seen["title"] == "Explore a </script><b>run"
    assert f"image {places[3]}, shape {places[3] % 3}, size</script> {places[3] % 5}" in seen["image"]


PLAYS = (
    SEEN
    + """(async () => {
  await frames(3);
  const start = Array.from(z), play = document.querySelectorAll(".play")[1], d = ROWS[1].latent.d, seen = [];
  play.click();
  const pressed = play.getAttribute("aria-pressed");
  for (let i = 0; i < 400; i++) { await frames(1); seen.push(z[d]); }
  document.dispatchEvent(new KeyboardEvent("keydown", {key: "Escape"}));
  await frames(2);
  const stopped = Array.from(z), label = play.getAttribute("aria-label");
  await frames(20);
  say({start, d, seen, pressed, stopped, still: Array.from(z), label,
       low: ROWS[1].latent.low, high: ROWS[1].latent.high});
})();"""
)


@needs_browser
@pytest.mark.parametrize("still", [False, True])
def test_playing_moves_one_latent_to_and_fro_until_it_is_stopped(one, tmp_path, still):
    path = tmp_path / "page.html"
    path.write_text(with_script(one[2], PLAYS), encoding="utf-8")
    seen = opened(path, *(["--force-prefers-reduced-motion"] if still else []))
    places = np.array(seen["seen"])
    assert seen["pressed"] == "true"
    assert places.min() == pytest.approx(seen["low"], abs=0.05)
    assert places.max() == pytest.approx(seen["high"], abs=0.05)
    steps = np.abs(np.diff(places))
    assert (steps > 0).mean() < 0.1 if still else (steps > 0).mean() > 0.9
    others = [d for d in range(7) if d != seen["d"]]
    assert [seen["stopped"][d] for d in others] == [seen["start"][d] for d in others]
    assert seen["stopped"] == seen["still"]
    assert seen["label"].startswith("Play z")


def test_the_page_needs_nothing_else_and_ends_no_script_early(one):
    text = one[2]
    assert not re.search(r"https?:|<link|<img|\bsrc=|import\(|fetch\(|@import", text)
    assert text.count("</script>") == 2
    held = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    assert held["name"] == "a </script><b>run"
    assert [latent["active"] for latent in held["latents"]] == [True] * 5 + [False] * 2
    assert all(latent["low"] == pytest.approx(-2.5758, abs=1e-3) for latent in held["latents"])
    assert len(held["images"]) == 12


def test_points_are_no_pictures(composed):
    vae, _ = random_vae(composed, "mlp", "gaussian")
    view = view_of(vae, (1, 12, 20))
    object.__setattr__(view.encoding, "images", Images(torch.zeros(30, 1, 1, 2), (1, 1, 2)))
    with pytest.raises(ConfigError, match="must be pictures"):
        page(vae, view, name="", about="")


def test_codes_that_are_not_finite_are_refused(one):
    vae, view, _ = one
    view.codes[0, 0] = np.nan
    with pytest.raises(ConfigError, match="diverged"):
        page(vae, view, name="", about="")
