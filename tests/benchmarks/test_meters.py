import os
import subprocess
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.command import main
from benchmarks.machine import app, measure
from benchmarks.meters import OtherWork, PeakMemory, counting, resident_bytes
from semcorr.evaluation.runs.unit_costs import flop_counter
from semcorr.models.diffusion import DiffusionModel


def test_products_convolutions_and_their_gradients_are_counted():
    a, b = torch.randn(6, 7), torch.randn(7, 8, requires_grad=True)
    with flop_counter() as flops:
        (a @ b).sum().backward()
    assert flops.get_total_flops() == 2 * (2 * 6 * 7 * 8)  # the product, and the gradient of one factor
    image, kernel = torch.randn(1, 3, 5, 5, requires_grad=True), torch.randn(4, 3, 3, 3)
    with flop_counter() as flops:
        F.conv2d(image, kernel, padding=1).sum().backward()
    assert flops.get_total_flops() == 2 * (2 * 25 * 3 * 4 * 9)


def test_fused_attention_on_the_processor_is_counted():
    query, key, value = (torch.randn(2, 4, n, 16) for n in (32, 24, 24))
    product = 2 * (2 * 4) * 32 * 24 * 16
    with flop_counter() as flops, torch.no_grad():
        F.scaled_dot_product_attention(query, key, value)
    assert flops.get_total_flops() == 2 * product
    query.requires_grad_()
    with flop_counter() as flops:
        F.scaled_dot_product_attention(query, key, value).sum().backward()
    # Backward: the scores once more, and the gradients of probabilities, query, key and value.
    assert flops.get_total_flops() == 2 * product + 5 * product


def test_passes_and_encodings_are_counted_also_in_a_cut_network(tiny_model: DiffusionModel):
    layers = tiny_model.select_layers()
    noisy, context = torch.randn(3, 4, 8, 8), torch.randn(3, 77, tiny_model.context_dim)
    with flop_counter() as flops, counting(tiny_model, flops) as counts:
        tiny_model.encode(torch.rand(2, 3, 64, 64))
        encoded = flops.get_total_flops()
        tiny_model.attention(noisy, 1, context, layers)
        tiny_model.unet(noisy[:1], 1, context[:1])
    assert (counts.encodes, counts.passes) == (2, 4)
    assert 0 < counts.encode_flops <= encoded < flops.get_total_flops()
    assert counts.encode_seconds > 0
    tiny_model.attention(noisy, 1, context, layers)
    assert counts.passes == 4  # nothing is left behind


def test_memory_at_its_peak_is_seen_and_not_what_was_there_before():
    kept = np.ones(20_000_000, dtype=np.uint8)
    with PeakMemory(torch.device("cpu")) as peak:
        big = np.ones(100_000_000, dtype=np.uint8)
        big[::4096] += 1
        for _ in range(3):
            big.sum()
        del big
    assert 80e6 < peak.bytes < 180e6
    assert resident_bytes() > kept.nbytes


def test_the_work_of_others_is_counted_apart_from_ones_own():
    with OtherWork() as alone:
        began = time.perf_counter()
        while time.perf_counter() - began < 0.3:
            pass
    spin = "while True: pass"
    other = subprocess.Popen([sys.executable, "-c", spin])
    try:
        with OtherWork() as disturbed:
            time.sleep(1)
    finally:
        other.kill()
        other.wait()
    assert 0 <= alone.share <= 1.5
    assert disturbed.share > 0.5 / (os.cpu_count() or 1)


def test_a_machine_is_named_and_measured():
    machine = measure(torch.device("cpu"), torch.float32, seconds=0.01)
    assert machine.rate > 1e8
    assert machine.name
    assert machine.threads == torch.get_num_threads()
    assert "GFLOP/s in float32" in str(machine)
    assert machine.busy >= 0


def test_an_unknown_option_is_an_error_without_a_traceback(capsys):
    assert main(app, ["--no-such-option"]) == 2
    assert main(app, ["--threads", "0"]) == 2
    assert "at least 1 thread" in capsys.readouterr().err
