"""Parameter randomization against scikit-image, SciPy and copies that are changed by hand; what it leaves alone."""

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
import torch
from scipy.stats import rankdata, spearmanr
from skimage.metrics import structural_similarity
from torch import Tensor, nn

import xai_core as xai
from support.models import SmallCNN, fused_vit, settled
from xai_core.errors import LayerError, OptionError, UnsuitableError
from xai_faithfulness.map_similarity import map_similarity, mean_ranks
from xai_faithfulness.randomized_copies import modules_last_to_first, randomize, randomized_copies
from xai_faithfulness.rng import PrivateGenerator

FROM_THE_TOP = ["head", "last.1", "last.0", "body.1", "body.0", "stem.1", "stem.0"]


@pytest.fixture
def cnn() -> nn.Module:
    return settled(SmallCNN())


def scored(engine: xai.Engine, images: Tensor, method: str | xai.Explainer, options: str = "") -> xai.MetricResult:
    metric = f"parameter-randomization{':' if options else ''}{options}"
    [[score]] = [one.values() for one in engine.evaluate(images, engine.explain(images, method), metric).values()]
    return score


def reference(x: Tensor, y: Tensor, similarity: str) -> float:
    """Of two maps [H,W], neither of which is constant, in float64."""
    one, other = x.double().numpy(), y.double().numpy()
    if similarity == "spearman":
        return spearmanr(one.ravel(), other.ravel()).statistic
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    return structural_similarity(one, other, **options)


def pairs_of_maps() -> tuple[Tensor, Tensor]:
    """Smooth, noisy, nearly equal, opposite and coarse ones, the last of which have many ties; not square."""
    y, x = torch.meshgrid(torch.linspace(0, 1, 20), torch.linspace(0, 1, 33), indexing="ij")
    noise = torch.rand(3, 20, 33)
    first = torch.stack([x * y, noise[0], x, y.round(), (noise[1] * 4).floor() / 4])
    second = torch.stack([x, noise[2], (x + 0.01 * noise[0]).clamp(0, 1), 1 - y, (noise[1] * 3).round() / 3])
    return first, second


@pytest.mark.parametrize("similarity", ["ssim", "spearman"])
def test_similarity_equals_that_of_others(similarity: str) -> None:
    first, second = pairs_of_maps()
    expected = [reference(x, y, similarity) for x, y in zip(first, second, strict=True)]
    assert max(expected) > 0.9 > 0 > min(expected)
    given = map_similarity(first, second, similarity)
    torch.testing.assert_close(given, torch.tensor(expected, dtype=torch.float32), atol=2e-6, rtol=0)


def test_equal_pixels_share_the_mean_of_their_ranks() -> None:
    maps = pairs_of_maps()[1]
    expected = torch.stack([torch.from_numpy(rankdata(one.ravel().numpy())) for one in maps])
    torch.testing.assert_close(mean_ranks(maps).double() + 1, expected, atol=0, rtol=0)


@pytest.mark.parametrize("similarity", ["ssim", "spearman"])
def test_a_constant_map_is_like_another_constant_one_alone(similarity: str) -> None:
    flat, other = torch.zeros(1, 16, 16), torch.rand(1, 16, 16)
    first, second = torch.cat([flat, flat, other]), torch.cat([flat, other, flat])
    assert map_similarity(first, second, similarity).tolist() == [1, 0, 0]


def changed_by_hand(model: nn.Module, names: list[str], seeds: list[int]) -> nn.Module:
    """A copy in which modules are reset one by one, in torch's own way."""
    changed = copy.deepcopy(model)
    for name, seed in zip(names, seeds, strict=True):
        torch.manual_seed(seed)
        changed.get_submodule(name).reset_parameters()  # type: ignore[operator]
    return changed


@pytest.mark.parametrize("similarity", ["ssim", "spearman"])
@pytest.mark.parametrize("order", ["cascading", "independent"])
def test_equals_a_loop_over_copies(
    cnn: nn.Module, images: Tensor, monkeypatch: pytest.MonkeyPatch, order: str, similarity: str
) -> None:
    """With the seeds that the modules were really given."""
    seeds: list[int] = []
    monkeypatch.setattr(
        "xai_faithfulness.randomized_copies.randomize",
        lambda module, seed: (seeds.append(seed), randomize(module, seed)),
    )
    engine, steps = xai.Engine(cnn), [0, 2, 4, 6]
    score = scored(engine, images, "hires-cam", f"order={order},similarity={similarity},layers=4,seed=5")
    first = engine.explain(images, "hires-cam")["hires-cam"].values
    classes = cnn(images).argmax(1)
    for number, step in enumerate(steps):
        drawn = FROM_THE_TOP[: step + 1] if order == "cascading" else [FROM_THE_TOP[step]]
        taken = seeds[: step + 1] if order == "cascading" else [seeds[number]]
        second = xai.Engine(changed_by_hand(cnn, drawn, taken)).explain(images, "hires-cam", classes)["hires-cam"]
        for image, (x, y, flat) in enumerate(zip(first, second.values, second.constant, strict=True)):
            expected = 0 if flat else reference(x, y, similarity)
            assert score.curve is not None
            assert score.curve[image, number].item() == pytest.approx(expected, abs=1e-5)
    assert len(set(seeds)) == len(seeds) == (7 if order == "cascading" else 4)
    assert score.fractions is not None
    torch.testing.assert_close(score.fractions, torch.tensor(steps).add(1) / 7)
    torch.testing.assert_close(score.values, score.curve.mean(1))  # the model's own map, a 1, is not in it


def test_modules_last_to_first(cnn: nn.Module) -> None:
    assert modules_last_to_first(cnn) == FROM_THE_TOP
    assert modules_last_to_first(fused_vit())[:2] == ["head", "norm"]


def test_steps_are_spread_from_the_top_to_the_bottom(cnn: nn.Module, images: Tensor) -> None:
    engine = xai.Engine(cnn)
    expected = {1: [7], 2: [1, 7], 3: [1, 4, 7], 7: [1, 2, 3, 4, 5, 6, 7], 100: [1, 2, 3, 4, 5, 6, 7]}
    for layers, places in expected.items():
        fractions = scored(engine, images, "edges", f"layers={layers}").fractions
        torch.testing.assert_close(fractions, torch.tensor(places) / 7)


def test_one_copy_at_a_time(cnn: nn.Module) -> None:
    assert len({id(changed) for changed in randomized_copies(cnn, range(7), cascading=True)}) == 1


@pytest.mark.parametrize("build", [SmallCNN, fused_vit])
def test_the_cascade_ends_where_nothing_learnt_is_left(build: type[nn.Module]) -> None:
    model = settled(build())
    count = len(modules_last_to_first(model))
    *_, last = randomized_copies(model, [0, count - 1], cascading=True)
    for (name, tensor), kept in zip(last.state_dict().items(), model.state_dict().values(), strict=True):
        assert tensor.dtype == kept.dtype
        assert name.endswith("num_batches_tracked") or (tensor != kept).any(), name


@pytest.mark.parametrize("cascading", [True, False])
def test_a_step_changes_its_modules_alone(cnn: nn.Module, cascading: bool) -> None:
    for place, changed in zip([1, 2, 5], randomized_copies(cnn, [1, 2, 5], cascading), strict=True):
        differing = {
            name.rpartition(".")[0]
            for name, parameter in changed.named_parameters()
            if (parameter != cnn.get_parameter(name)).any()
        }
        assert differing == set(FROM_THE_TOP[: place + 1] if cascading else [FROM_THE_TOP[place]])


def test_a_module_draws_the_same_in_either_order_and_any_precision(cnn: nn.Module) -> None:
    [changed] = randomized_copies(cnn, [4], cascading=True, seed=3)
    expected = changed.get_submodule("body.0").weight
    for cascading, dtype in ((True, torch.float32), (False, torch.float64), (True, torch.bfloat16)):
        model = copy.deepcopy(cnn).to(dtype, memory_format=torch.channels_last)
        steps = randomized_copies(model, [0, 4], cascading, seed=3)
        next(steps)
        weight = next(steps).get_submodule("body.0").weight
        assert (weight.dtype, weight.stride()) == (dtype, model.get_submodule("body.0").weight.stride())
        torch.testing.assert_close(weight, expected.to(dtype), atol=0, rtol=0)


class Own(nn.Module):
    """Parameters without `reset_parameters`: many, equal ones, and a single one."""

    def __init__(self) -> None:
        super().__init__()
        self.many = nn.Parameter(3 + 0.5 * torch.randn(100, 100))
        self.equal = nn.Parameter(torch.full((1000,), 1e-3))
        self.single = nn.Parameter(torch.tensor(-4.0))


def test_parameters_without_a_reset_are_drawn_by_their_own_mean_and_deviation() -> None:
    model = Own()
    before = copy.deepcopy(model.state_dict())
    randomize(model, 0)
    assert all((tensor != before[name]).all() for name, tensor in model.state_dict().items())
    assert model.many.mean().item() == pytest.approx(3, abs=0.02)
    assert model.many.std().item() == pytest.approx(0.5, rel=0.02)
    assert model.equal.std().item() == pytest.approx(1e-3, rel=0.1)


class Gated(nn.Linear):
    """A parameter that the `reset_parameters` it inherits does not know, and one of another kind."""

    def __init__(self) -> None:
        super().__init__(4, 4)
        self.gate = nn.Parameter(3 + 0.5 * torch.randn(100, 100))
        self.empty = nn.Parameter(torch.empty(0))


def test_parameters_that_an_inherited_reset_does_not_know_are_drawn_too() -> None:
    model = Gated()
    before = copy.deepcopy(model.state_dict())
    randomize(model, 1)
    assert all((tensor != before[name]).all() for name, tensor in model.state_dict().items())
    assert model.gate.mean().item() == pytest.approx(3, abs=0.02)
    assert model.weight.abs().max() <= 0.5  # as `nn.Linear` starts


def test_parameters_of_integers_are_an_error() -> None:
    model = Gated()
    model.gate = nn.Parameter(torch.arange(3), requires_grad=False)
    with pytest.raises(UnsuitableError, match=r"'gate' of Gated has dtype torch\.int64"):
        randomize(model, 0)


class Resetting(nn.Module):
    """Resets a module in it along with its own parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.rand(4))
        self.inner = nn.Linear(4, 4)

    def reset_parameters(self) -> None:
        nn.init.uniform_(self.gain)
        self.inner.reset_parameters()


def test_a_reset_of_modules_inside_another_is_theirs_alone() -> None:
    model = nn.Sequential(nn.Linear(4, 4), Resetting(), nn.Linear(4, 4))
    names = modules_last_to_first(model)
    assert names == ["2", "1.inner", "1", "0"]
    alone = [copy.deepcopy(changed.state_dict()) for changed in randomized_copies(model, range(4), cascading=False)]
    *_, together = randomized_copies(model, range(4), cascading=True)
    for name, tensor in together.state_dict().items():
        owner = names.index(name.rpartition(".")[0])
        for place, changed in enumerate(alone):
            assert torch.equal(changed[name], tensor if place == owner else model.state_dict()[name]), (name, place)


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm])
def test_weights_that_are_made_of_others(images: Tensor, norm: Any) -> None:
    model = settled(SmallCNN())
    norm(model.head)
    model(images)  # old-style weights are not leaves of a graph now
    before = copy.deepcopy(model.state_dict())
    assert scored(xai.Engine(model), images, "hires-cam", "layers=3").values.isfinite().all()
    torch.testing.assert_close(model.state_dict(), before, atol=0, rtol=0)
    *_, last = randomized_copies(model, [len(modules_last_to_first(model)) - 1], cascading=True)
    assert not torch.allclose(last(images), model(images), rtol=0.1)
    assert all((tensor != before[f"head.{name}"]).all() for name, tensor in last.head.state_dict().items())


class Drawn(nn.Module):
    """Draws in each of the ways that torch has."""

    def __init__(self) -> None:
        super().__init__()
        for name in WAYS:
            self.register_parameter(name, nn.Parameter(torch.zeros(64)))

    def reset_parameters(self) -> None:
        for name, way in WAYS.items():
            self.get_parameter(name).data.copy_(way(torch.empty(64)))


WAYS: dict[str, Callable[[Tensor], Tensor]] = {
    "normal": lambda like: torch.normal(like.zero_(), 1.0),
    "trunc_normal": nn.init.trunc_normal_,
    "orthogonal": lambda like: nn.init.orthogonal_(like.view(8, 8)).flatten(),
    "randn": lambda like: torch.randn(64),
    "rand_like": torch.rand_like,
    "randint": lambda like: torch.randint(1, 9999, (64,)),
    "randint_like": lambda like: torch.randint_like(like, 9999),
    "randperm": lambda like: torch.randperm(64),
    "bernoulli": lambda like: torch.bernoulli(like.fill_(0.5)),
    "multinomial": lambda like: torch.multinomial(like.fill_(1), 64),
    "exponential": lambda like: like.exponential_(),
    "sampled": lambda like: torch.distributions.Gamma(1.0, 1.0).sample((64,)),
}


def test_whatever_is_drawn_leaves_torchs_generator_alone_and_does_not_see_it() -> None:
    first, second = Drawn(), Drawn()
    state = torch.get_rng_state()
    randomize(first, 5)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    randomize(second, 5)
    for name, parameter in first.named_parameters():
        assert parameter.std() > 0, name
        assert torch.equal(parameter, second.get_parameter(name)), name


def test_what_takes_no_generator_is_an_error() -> None:
    with pytest.raises(UnsuitableError, match=r"dropout.*, which takes no generator"), PrivateGenerator(0):
        torch.native_dropout(torch.ones(3), 0.5, True)


def test_two_threads_and_whoever_draws_beside_them(cnn: nn.Module, images: Tensor) -> None:
    """One model, one engine each; and a third thread that draws from torch's generator."""
    expected = scored(xai.Engine(cnn), images, "hires-cam").values
    busy = Event()

    def draw() -> None:
        while not busy.is_set():
            torch.rand(3)

    def evaluate(_: int) -> list[Tensor]:
        return [scored(xai.Engine(cnn), images, "hires-cam").values for _ in range(4)]

    with ThreadPoolExecutor(3) as threads:
        drawing = threads.submit(draw)
        given = [one for many in threads.map(evaluate, range(2)) for one in many]
        busy.set()
        drawing.result()
    assert all(torch.equal(one, expected) for one in given)


def test_the_seed_decides(cnn: nn.Module, images: Tensor) -> None:
    engine = xai.Engine(cnn)
    first, second, other = (scored(engine, images, "grad-cam", f"layers=3,seed={seed}").values for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert (first != other).all()


def test_generators_and_the_model_are_left_alone(cnn: nn.Module, images: Tensor) -> None:
    before, state = copy.deepcopy(cnn.state_dict()), torch.get_rng_state()
    scored(xai.Engine(cnn), images, "grad-cam")
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(cnn.state_dict(), before, atol=0, rtol=0)


@pytest.mark.parametrize("order", ["cascading", "independent"])
def test_a_method_that_ignores_the_model_does_not_change(cnn: nn.Module, images: Tensor, order: str) -> None:
    assert torch.equal(scored(xai.Engine(cnn), images, "edges", f"order={order}").values, torch.ones(3))
    by_rank = scored(xai.Engine(cnn), images, "edges", f"order={order},similarity=spearman").values
    torch.testing.assert_close(by_rank, torch.ones(3), atol=1e-6, rtol=0)


def test_a_method_that_sees_the_model_changes(cnn: nn.Module, images: Tensor) -> None:
    engine = xai.Engine(cnn)
    cascading, independent = (scored(engine, images, "grad-cam", f"order={of}") for of in ("cascading", "independent"))
    assert (cascading.values < 0.7).all()
    assert cascading.curve is not None
    assert independent.curve is not None
    assert torch.equal(cascading.curve[:, 0], independent.curve[:, 0])
    assert (cascading.curve[:, 1:] != independent.curve[:, 1:]).any(0).all()


def test_maps_of_several_targets(cnn: nn.Module, images: Tensor) -> None:
    engine, metric = xai.Engine(cnn), "parameter-randomization:similarity=spearman,layers=2"
    both, second = (
        engine.evaluate(images, engine.explain(images, "layer-cam", target), metric)["layer-cam"][metric]
        for target in ([[0, 1]] * 3, 1)
    )
    torch.testing.assert_close(both.values[:, 1], second.values)
    torch.testing.assert_close(both.fractions, second.fractions)


@pytest.mark.parametrize("method", ["gradient-rollout", "grad-cam"])
def test_transformers(images: Tensor, method: str) -> None:
    values = scored(xai.Engine(settled(fused_vit())), images, method, "layers=3").values
    assert ((values > -1) & (values < 0.9)).all()


def test_a_layer_of_the_copy_is_known_by_name_alone(cnn: nn.Module, images: Tensor) -> None:
    engine = xai.Engine(cnn)
    by_name = scored(engine, images, xai.create_explainer("grad-cam", layer="last.0"), "layers=2")
    assert by_name.values.isfinite().all()
    with pytest.raises(LayerError, match="Pass the layer's name"):
        scored(engine, images, xai.create_explainer("grad-cam", layer=cnn.get_submodule("last.0")), "layers=2")


def test_what_has_no_answer(cnn: nn.Module, images: Tensor) -> None:
    with pytest.raises(UnsuitableError, match=r"Engine\.explain"):
        xai.Engine(cnn).evaluate(images, {"mine": images[:, 0]}, "parameter-randomization")
    with pytest.raises(UnsuitableError, match="the model has none"):
        scored(xai.Engine(nn.Sequential(nn.AvgPool2d(8), nn.Flatten())), images, "edges")
    small = images[:, :, :10, :12]
    with pytest.raises(OptionError, match=r"at least 11x11, got 10x12; use similarity=spearman"):
        scored(xai.Engine(cnn), small, "edges")
    assert scored(xai.Engine(cnn), small, "edges", "similarity=spearman").values.isfinite().all()


@pytest.mark.parametrize("options", ["order=random", "similarity=hog", "layers=0"])
def test_options_that_make_no_sense(options: str) -> None:
    with pytest.raises(OptionError, match="must be"):
        xai.create_metric(f"parameter-randomization:{options}")
