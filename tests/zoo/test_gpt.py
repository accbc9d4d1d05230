import math

import pytest
import torch

from gradlaw.zoo import GPT, next_token_loss


def test_readout_and_token_embedding_are_one_parameter():
    vocabulary, context, width, depth = 65, 16, 32, 3
    model = GPT(vocabulary, context, width, depth)
    assert model.readout.weight is model.tokens.weight
    block = 12 * width**2 + 13 * width  # nanoGPT's count: qkv, projection and MLP with biases, two norms
    expected = vocabulary * width + context * width + depth * block + 2 * width
    assert sum(p.numel() for p in model.parameters()) == expected


def test_logits_do_not_see_the_future():
    model = GPT(11, context=10).double()
    tokens = torch.randint(11, (2, 10))
    changed = tokens.clone()
    changed[:, 6] = (changed[:, 6] + 1) % 11
    before, after = model(tokens), model(changed)
    torch.testing.assert_close(before[:, :6], after[:, :6])
    assert (before[:, 6:] - after[:, 6:]).abs().amax(dim=(0, 2)).min() > 1e-6
    torch.testing.assert_close(model(tokens[:, :6]), before[:, :6])


def test_attention_is_softmax_of_scaled_products_under_a_causal_mask():
    attention = GPT(11, width=12, heads=3).blocks[0].attention.double()
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    q, k, v = attention.qkv(x).split(12, dim=-1)
    heads = []
    for h in range(3):
        part = slice(4 * h, 4 * h + 4)
        scores = q[..., part] @ k[..., part].mT / math.sqrt(4)
        scores = scores.masked_fill(torch.triu(torch.ones(5, 5, dtype=torch.bool), 1), -math.inf)
        heads.append(scores.softmax(dim=-1) @ v[..., part])
    torch.testing.assert_close(attention(x), attention.projection(torch.cat(heads, dim=-1)))


def test_dropout_is_of_the_training_mode_alone_and_scales_what_it_keeps():
    tokens, plain, dropping = torch.randint(11, (4, 16)), GPT(11, 16), GPT(11, 16, dropout=0.5)
    dropping.load_state_dict(plain.state_dict())
    torch.testing.assert_close(dropping.eval()(tokens), plain(tokens))
    dropping.train()
    assert not torch.equal(dropping(tokens), dropping(tokens))
    # The first thing that is dropped: half of the embeddings' sum, twice as large where it stays.
    seen = []
    dropping.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    dropping(tokens)
    ratio = seen[0] / (plain.tokens(tokens) + plain.positions(torch.arange(16)))
    torch.testing.assert_close(ratio, ratio.round())
    assert set(ratio.round().unique().tolist()) == {0.0, 2.0}


def test_without_bias_the_count_is_that_of_nanogpt():
    model = GPT(65, 256, 384, 6, 6, bias=False)
    assert not any(name.endswith("bias") for name, _ in model.named_parameters())
    assert sum(p.numel() for p in model.parameters()) - model.positions.weight.numel() == 10_646_784


def test_loss_is_the_mean_over_all_positions():
    logits, targets = torch.randn(3, 4, 7, dtype=torch.float64), torch.randint(7, (3, 4))
    picked = logits.log_softmax(dim=-1).gather(-1, targets[..., None])
    torch.testing.assert_close(next_token_loss(logits, targets), -picked.mean())


def test_a_fresh_model_knows_nothing():
    tokens = torch.randint(65, (8, 64))
    assert abs(next_token_loss(GPT(65)(tokens), tokens.roll(1)).item() - math.log(65)) < 0.3


def test_wrong_sizes():
    with pytest.raises(ValueError, match="multiple of its heads, got 10 and 4"):
        GPT(11, width=10)
    with pytest.raises(ValueError, match="sequences of 9 tokens are longer than the context of 8"):
        GPT(11, context=8)(torch.zeros(1, 9, dtype=torch.long))
