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
from photoz.photometry import MagnitudeScaling, MagnitudeSums
from photoz.training.epoch import Predictions, make_optimizer, make_schedule, train_epoch, validate
from photoz.training.history import EpochRecord, write_history
from photoz.training.state import TrainingState, restore

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


def make_batch(count, *, images=False, seed=0):
    rng = np.random.default_rng(seed)
    z_N = rng.uniform(0.02, 0.5, count)
    magnitudes_NF = (18 + 4 * z_N[:, None] * np.linspace(1, 0.2, 9) + rng.normal(0, 0.3, (count, 9))).astype(np.float32)
    scaling = MagnitudeScaling.fit(MagnitudeSums.empty(9).add(magnitudes_NF), BANDS)
    cutouts = rng.normal(size=(count, 4, 36, 36)).astype(np.float32) if images else None
    inputs = from_magnitudes.make_inputs(magnitudes_NF, np.nan, cutouts)
    return prepare_batch(inputs, z_N, scaling=scaling, device=CPU)


def make_training(*, images=False, paper=False, **settings):
    torch.manual_seed(1)
    chosen = make_settings(**settings)
    kind = PaperEstimator if paper else HybridEstimator
    layout = InputLayout(BANDS, BANDS[:4] if images else (), 36 if images else 0, 0.2, kind.make_head(chosen.network))
    network = kind.make_network(layout, (0.2, 0.1))
    optimizer = make_optimizer(network, chosen.schedule)
    return network, optimizer, make_schedule(optimizer, chosen.schedule), kind.make_objective(layout, chosen)


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
    assert batch.photometry.values_NF.shape == (5, 9)
    assert batch.images_NBYX.shape == (5, 4, 36, 36)
    assert batch.seen_NB.all()
    inputs = from_magnitudes.make_inputs([[1.0, np.nan]], np.nan)
    options = {"scaling": MagnitudeScaling(np.ones(2), np.ones(2), np.zeros(1)), "device": CPU}
    z = prepare_batch(inputs, np.array([0.25]), **options)
    assert z.target_N.item() == pytest.approx(np.log(1.25))
    np.testing.assert_allclose(z.photometry.values_NF, [[0.0, np.nan]], atol=1e-6)
    filled = prepare_batch(inputs, np.array([0.25]), fill=True, **options)
    np.testing.assert_allclose(filled.photometry.values_NF, [[0.0, 0.0]], atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "epochs", "steps"),
    [
        ({"paper": True}, 10, 40),
        ({"images": True, "paper": True}, 3, 10),
        ({"head": "mixture"}, 3, 20),
        ({"head": "binned"}, 3, 20),
        ({"head": "point"}, 3, 20),
        ({"images": True}, 2, 10),
    ],
)
def test_learns_64_galaxies_by_heart(settings, epochs, steps):
    batch = make_batch(64, images=settings.get("images", False))
    network, optimizer, schedule, objective = make_training(decay_steps=20, **settings)
    generator = torch.Generator().manual_seed(0)
    before = validate(network, [batch], objective=objective)
    for _ in range(epochs):
        loss = train_epoch(network, [batch] * steps, optimizer, schedule, objective=objective, generator=generator)
    target_N = batch.target_N.numpy()
    assert loss.galaxies == 64 * steps
    after = validate(network, [batch], objective=objective)
    assert np.abs(after.estimate_N - target_N).mean() < 0.4 * np.abs(target_N - np.median(target_N)).mean()
    assert after.loss_N.mean() < before.loss_N.mean()


def test_learning_rate_falls_continuously():
    network, optimizer, schedule, objective = make_training(decay=0.9, decay_steps=10)
    batch = make_batch(4)
    train_epoch(network, [batch] * 5, optimizer, schedule, objective=objective, generator=torch.Generator())
    assert schedule.get_last_lr()[0] == pytest.approx(1e-3 * 0.9**0.5)


@pytest.mark.parametrize("paper", [True, False])
def test_bfloat16_keeps_weights_and_loss_in_float32(paper):
    network, optimizer, schedule, objective = make_training(images=True, paper=paper, precision="bfloat16")
    loss = train_epoch(
        network, [make_batch(4, images=True)], optimizer, schedule, objective=objective, generator=torch.Generator()
    )
    assert np.isfinite(loss.mean)
    assert loss.galaxies == 4
    assert {p.dtype for p in network.parameters()} == {torch.float32}


@pytest.mark.parametrize("head", ["mixture", "binned"])
def test_a_seed_gives_the_same_weights_and_weights_count(head):
    def train(weight=1.0):
        network, optimizer, schedule, objective = make_training(images=True, head=head)
        batch = make_batch(8, images=True)
        batch = replace(batch, weight_NK=torch.full((8, 4), 1.0) * torch.tensor([weight] * 4 + [1.0] * 4)[:, None])
        torch.manual_seed(2)  # dropout
        generator = torch.Generator().manual_seed(3)
        train_epoch(network, [batch] * 2, optimizer, schedule, objective=objective, generator=generator)
        return torch.cat([p.flatten() for p in network.parameters()])

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
    batch = make_batch(50)
    network, _, _, objective = make_training(paper=True, huber_delta=0.3)
    metrics = validate(network, [batch], objective=objective).compute_metrics()
    with torch.no_grad():
        expected = torch.nn.functional.huber_loss(network(batch.photometry.values_NF), batch.target_N, delta=0.3)
    assert metrics["valid_loss"] == pytest.approx(expected.item(), rel=1e-5)


def test_early_stopping_keeps_the_best_epoch():
    network, *_ = make_training(paper=True)
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


def test_resumed_training_goes_on_as_if_nothing_had_happened(tmp_path):
    batches = [make_batch(16, seed=seed) for seed in range(4)]
    network, optimizer, schedule, objective = make_training(decay_steps=3)

    def run(state, network, optimizer, schedule):
        torch.manual_seed(9)  # dropout
        train_epoch(
            network, batches, optimizer, schedule, objective=objective, generator=torch.Generator().manual_seed(2)
        )
        return state.add(make_record(state.epoch + 1, 1.0), network)

    state = run(TrainingState(), network, optimizer, schedule)
    state.save(str(tmp_path), network, optimizer, schedule)
    state = run(state, network, optimizer, schedule)
    other, optimizer2, schedule2, _ = make_training(decay_steps=3)
    again, content = TrainingState.read(str(tmp_path))
    restore(content, other, optimizer2, schedule2)
    assert again.records == state.records[:1]
    run(again, other, optimizer2, schedule2)
    for name, value in network.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
    assert schedule2.get_last_lr() == schedule.get_last_lr()


def test_history_is_written_and_told(tmp_path):
    records = [make_record(epoch, 1e-5 / epoch) for epoch in range(1, 6)]
    write_history(str(tmp_path / "h.json"), records, info={"estimator": "hybrid"})
    written = json.loads((tmp_path / "h.json").read_text())
    assert written["estimator"] == "hybrid"
    assert [EpochRecord(**epoch) for epoch in written["epochs"]] == records
    assert "epoch 1/5: loss 2.000e-05" in records[0].describe(5)
    assert "at most 40 s left" in records[0].describe(5)
