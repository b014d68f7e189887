"""How many rows run together: an estimate of the memory that a row takes, against what there is."""

from semcorr.matchers.prompt.attention_reader import AttentionReader
from semcorr.models.memory import batch_rows, default_budget, is_out_of_memory


def batch_size(reader: AttentionReader, points: int, memory_budget: int | None, *, optimizing: bool) -> int:
    """Return how many of the rows of ``points`` points fit into ``memory_budget`` bytes; None is a share of the free.

    Args:
        reader: The model and settings.
        points: Query points; each has ``rounds`` rows.
        memory_budget: Bytes for a batch.
        optimizing: Whether embeddings are optimized or located.
    """
    budget = default_budget(reader.model.device) if memory_budget is None else memory_budget
    try:
        each = row_bytes(reader, optimizing=optimizing)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return 1  # not even measuring fits; the work itself will fit, or say what to do
    return batch_rows(budget, each, points * reader.settings.rounds)


def row_bytes(reader: AttentionReader, *, optimizing: bool) -> int:
    """Estimate the bytes that one more row in a batch takes.

    Optimizing keeps what autograd saves for the backward pass, and the enlarged maps; locating keeps the canvases. Both
    pass through the network, whose passing activations are taken to be no more than what autograd would save without
    checkpoints; with frozen queries only the scores of the tokens are a row's own.
    """
    map_bytes = 4 * reader.resolution**2 * len(reader.tokens)
    latent_size = reader.latent_shape[1:]
    if reader.settings.queries == "frozen":
        sizes = [(layer.heads, *layer.map_size(*latent_size)) for layer in reader.layers]
        positions = sum(heads * height * width for heads, height, width in sizes)
        # The scores in float32, with what is made of them on the way.
        network = positions * reader.context_length * 4 * (4 if optimizing else 2)
    else:
        network = reader.model.saved_bytes_per_row(
            reader.layers,
            latent_size=latent_size,
            gradient_checkpointing=optimizing and reader.gradient_checkpointing,
        )
    maps = len(reader.layers) * map_bytes
    if optimizing:
        # Each layer's enlarged map, its error and their gradients exist at once; a quarter more for what the backward
        # pass needs on its way.
        return (network + 4 * maps + 2 * map_bytes) * 5 // 4
    # Each layer's canvas, its enlarged map and a copy for the running mean.
    return network + 3 * maps + 2 * map_bytes
