"""Batches, epochs, early stopping, checkpoints and the history."""

import json
from dataclasses import replace

import from_magnitudes
import numpy as np
import pytest
import torch
from training_settings import make_settings

from photoz.errors import TrainingError
from photoz.estimators.networks.batches import augment, prepare_batch, turn_images
from photoz.estimators.networks.hybrid import HybridEstimator
from photoz.estimators.networks.layout import InputLayout
from photoz.estimators.networks.paper import PaperEstimator
from photoz.estimators.networks.preparation import PaperPreparation
from photoz.photometry import MagnitudeScaling
from photoz.training.epoch import Predictions, make_learner, train_epoch, validate
from photoz.training.history import EpochRecord, write_history
from photoz.training.state import TrainingState

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread():
    """Use one thread: these tests are small, and threads wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


BANDS = ("u", "g", "r", "i", "Z", "Y", "J", "H", "Ks")


def make_record(epoch, valid_loss):
    return EpochRecord(epoch, 2e-5, valid_loss, 0.02, 0.9, 1e-3, 0.02, 100.0, 1e-3, 10.0)


def make_batch(count, *, images=False, seed=0, paper=False):
    rng = np.random.default_rng(seed)
    z_N = rng.uniform(0.02, 0.5, count)
    magnitudes_NF = (18 + 4 * z_N[:, None] * np.linspace(1, 0.2, 9) + rng.normal(0, 0.3, (count, 9))).astype(np.float32)
    kind = PaperEstimator if paper else HybridEstimator
    preparation = from_magnitudes.make_preparation(kind, BANDS, magnitudes_NF, np.nan)
    cutouts = rng.normal(size=(count, 4, 36, 36)).astype(np.float32) if images else None
    inputs = from_magnitudes.make_inputs(magnitudes_NF, np.nan, cutouts)
    return prepare_batch(inputs, z_N, preparation=preparation, device=CPU)


def make_training(*, images=False, paper=False, steps=1000, **settings):
    torch.manual_seed(1)
    kind = PaperEstimator if paper else HybridEstimator
    chosen = kind.resolve_settings(make_settings(**settings))
    layout = InputLayout(BANDS, BANDS[:4] if images else (), 36 if images else 0, 0.2, kind.make_head(chosen.network))
    network = kind.make_network(layout, (0.2, 0.1))
    return make_learner(network, chosen.schedule, steps=steps), kind.make_objective(layout, chosen)


def test_turns_are_the_eight_symmetries_of_the_square():
    image = torch.arange(36.0 * 36).reshape(1, 1, 36, 36)
    turned = [turn_images(image, turn) for turn in range(8)]
    assert len({tuple(t.flatten().tolist()) for t in turned}) == 8
    for t in turned:  # a group: turning again by any of them gives one of the eight
        for again in range(8):
            assert any(torch.equal(turn_images(t, again), other) for other in turned)
    assert torch.equal(turned[1], torch.rot90(image, 1, (2, 3)))
    assert torch.equal(turned[4], image.flip(3))


def test_augmentation_turns_each_image_by_its_own_draw_and_all_equally_often():
    images = torch.arange(16.0).reshape(1, 1, 4, 4).repeat(4000, 2, 1, 1)
    turned = augment(images, torch.Generator().manual_seed(0))
    assert torch.equal(augment(images, torch.Generator().manual_seed(0)), turned)
    assert torch.equal(turned[:, 0], turned[:, 1])  # bands turn together
    counts = [(turned == turn_images(images[:1], turn)).flatten(1).all(dim=1).sum().item() for turn in range(8)]
    assert sum(counts) == 4000
    assert min(counts) > 400
    assert torch.equal(images[0, 0], torch.arange(16.0).reshape(4, 4))


def test_target_is_the_logarithm_and_preparation_the_estimators():
    batch = make_batch(5, images=True)
    assert batch.photometry.fluxes_NF.shape == (5, 9)
    assert batch.images_NBYX.shape == (5, 2 * 4, 36, 36)  # bands, and their masks
    assert batch.seen_NB.all()
    inputs = from_magnitudes.make_inputs([[1.0, np.nan]], np.nan)
    scaling = MagnitudeScaling(np.ones(2), np.ones(2), np.zeros(1))
    filled = prepare_batch(inputs, np.array([0.25]), preparation=PaperPreparation(scaling), device=CPU)
    assert filled.target_N.item() == pytest.approx(np.log(1.25))
    np.testing.assert_allclose(filled.photometry, [[0.0, 0.0]], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "epochs", "steps"),
    [
        ({"paper": True}, 10, 40),
        ({"images": True, "paper": True}, 3, 15),
        ({"head": "mixture"}, 3, 20),
        ({"head": "binned"}, 3, 20),
        ({"head": "point"}, 3, 20),
        ({"images": True}, 2, 10),
    ],
)
def test_learns_64_galaxies_by_heart(settings, epochs, steps):
    batch = make_batch(64, images=settings.get("images", False), paper=settings.get("paper", False))
    learner, objective = make_training(steps=epochs * steps, average=0.9, **settings)
    generator = torch.Generator().manual_seed(0)
    before = validate(learner.kept, [batch], objective=objective)
    for _ in range(epochs):
        loss = train_epoch(learner, [batch] * steps, objective=objective, generator=generator)
    target_N = batch.target_N.numpy()
    assert loss.galaxies == 64 * steps
    after = validate(learner.kept, [batch], objective=objective)
    assert np.abs(after.estimate_N - target_N).mean() < 0.4 * np.abs(target_N - np.median(target_N)).mean()
    assert after.loss_N.mean() < before.loss_N.mean()


def train_some(learner, objective, batches):
    return train_epoch(learner, batches, objective=objective, generator=torch.Generator().manual_seed(2))


def test_learning_rate_falls_continuously():
    learner, objective = make_training(shape="exponential", learning_rate=1e-3, decay=0.9, decay_steps=10)
    train_some(learner, objective, [make_batch(4)] * 5)
    assert learner.schedule.get_last_lr()[0] == pytest.approx(1e-3 * 0.9**0.5)


def test_learning_rate_rises_for_a_tenth_of_the_steps_and_falls_to_0_by_a_cosine():
    learner, objective = make_training(learning_rate=1e-3, steps=20)
    rates = [learner.schedule.get_last_lr()[0]]
    for _ in range(22):  # two more than were told: it stays at 0
        train_some(learner, objective, [make_batch(4)])
        rates.append(learner.schedule.get_last_lr()[0])
    assert rates[0] == pytest.approx(0.04e-3)
    assert rates[2] == pytest.approx(1e-3)
    assert rates[11] == pytest.approx(0.5e-3)
    assert rates[20:] == pytest.approx([0.0] * 3)
    assert rates[2:] == sorted(rates[2:], reverse=True)


def test_what_is_kept_is_the_average_of_the_weights():
    learner, objective = make_training(average=0.5, learning_rate=1e-2)
    batch, seen = make_batch(16), []
    average = [p.detach().clone() for p in learner.bare.parameters()]
    for step in range(1, 13):
        train_some(learner, objective, [batch])
        share = 1 - min(0.5, step / (9 + step))
        average = [torch.lerp(a, p.detach(), share) for a, p in zip(average, learner.bare.parameters(), strict=True)]
        seen.append(next(learner.bare.parameters()).detach().clone())
    for found, expected in zip(learner.kept.parameters(), average, strict=True):
        torch.testing.assert_close(found, expected)
    assert not torch.equal(seen[-1], average[0])
    plain, _ = make_training(average=0.0)
    assert plain.kept is plain.bare


def test_no_step_is_longer_than_the_greatest_gradient():
    learner, _ = make_training(greatest_gradient=0.5)
    learner.step(1e6 * sum((p**2).sum() for p in learner.bare.parameters()))
    lengths = torch.stack([p.grad.norm() for p in learner.bare.parameters()])
    assert lengths.norm().item() == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("paper", [True, False])
def test_bfloat16_keeps_weights_and_loss_in_float32(paper):
    learner, objective = make_training(images=True, paper=paper, precision="bfloat16")
    loss = train_some(learner, objective, [make_batch(4, images=True, paper=paper)])
    assert np.isfinite(loss.mean)
    assert loss.galaxies == 4
    assert {p.dtype for p in learner.kept.parameters()} == {torch.float32}


@pytest.mark.parametrize("head", ["mixture", "binned"])
def test_a_seed_gives_the_same_weights_and_weights_count(head):
    def train(weight=1.0):
        learner, objective = make_training(images=True, head=head)
        batch = make_batch(8, images=True)
        batch = replace(batch, weight_NK=torch.full((8, 5), 1.0) * torch.tensor([weight] * 4 + [1.0] * 4)[:, None])
        train_some(learner, objective, [batch] * 2)
        return torch.cat([p.flatten() for p in learner.kept.parameters()])

    assert torch.equal(train(), train())
    assert not torch.equal(train(), train(weight=0.1))


def test_metrics_of_known_predictions():
    target = np.log1p(np.array([0.0, 1.0]))
    metrics = Predictions(np.log1p(np.array([0.0, 1.5])), target, np.array([1.0, 2.0])).compute_metrics()
    assert metrics["mse"] == pytest.approx(0.125)
    assert metrics["mae"] == pytest.approx(0.25)
    assert metrics["r2"] == pytest.approx(1 - 0.25 / 0.5)
    assert metrics["valid_loss"] == 1.5
    assert metrics["smad"] == pytest.approx(1.4826 * 0.125)
    halves = [Predictions(target[:1], target[:1], target[:1]), Predictions(target[1:], target[1:], target[1:])]
    assert Predictions.concatenate(halves).compute_metrics()["mse"] == 0


def test_the_papers_loss_is_torchs_huber_loss():
    batch = make_batch(50, paper=True)
    learner, objective = make_training(paper=True)
    metrics = validate(learner.kept, [batch], objective=objective).compute_metrics()
    with torch.no_grad():
        expected = torch.nn.functional.huber_loss(learner.kept(batch.photometry), batch.target_N, delta=1e-4)
    assert metrics["valid_loss"] == pytest.approx(expected.item(), rel=1e-5)


def test_early_stopping_keeps_the_best_epoch():
    network = make_training(paper=True)[0].bare
    state = TrainingState()
    for epoch, loss in enumerate([3.0, 1.0, 1.0, 2.0], start=1):
        assert not state.is_finished(max_epochs=10, patience=2)
        with torch.no_grad():
            network.join[2].bias.fill_(epoch)
        state = state.add(make_record(epoch, loss), network)
    assert state.is_finished(max_epochs=10, patience=2)
    assert state.best_record.epoch == 2
    assert state.best["join.2.bias"].item() == 2.0
    with pytest.raises(TrainingError, match=r"training\.schedule\.learning_rate"):
        state.add(make_record(5, float("nan")), network)


@pytest.mark.parametrize("shape", ["cosine", "exponential"])
def test_resumed_training_goes_on_as_if_nothing_had_happened(tmp_path, shape):
    batches = [make_batch(16, seed=seed) for seed in range(4)]
    settings = {"decay_steps": 3, "shape": shape, "steps": 8}
    learner, objective = make_training(**settings)

    def run(state, learner):
        train_some(learner, objective, batches)
        return state.add(make_record(state.epoch + 1, 1.0), learner.kept)

    state = run(TrainingState(), learner)
    state.save(str(tmp_path), learner)
    state = run(state, learner)
    other, _ = make_training(**settings)
    again, content = TrainingState.read(str(tmp_path))
    other.restore(content)
    assert again.records == state.records[:1]
    run(again, other)
    for mine, its in ((learner.bare, other.bare), (learner.kept, other.kept)):
        for name, value in mine.state_dict().items():
            assert torch.equal(value, its.state_dict()[name]), name
    assert other.schedule.get_last_lr() == learner.schedule.get_last_lr()


def test_history_is_written_and_told(tmp_path):
    records = [make_record(epoch, 1e-5 / epoch) for epoch in range(1, 6)]
    write_history(str(tmp_path / "h.json"), records, info={"estimator": "hybrid"})
    written = json.loads((tmp_path / "h.json").read_text())
    assert written["estimator"] == "hybrid"
    assert [EpochRecord(**epoch) for epoch in written["epochs"]] == records
    assert "epoch 1/5: loss 2.000e-05" in records[0].describe(5)
    assert "at most 40 s left" in records[0].describe(5)
