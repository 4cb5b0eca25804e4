"""Self-attention over sets, of which some members may be missing."""

from __future__ import annotations

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class AttentionBlock(nn.Module):
    """A pre-norm transformer layer over the members that are present: x + attention(norm(x)), then x + mlp(norm(x)).

    Args:
        width: number of features of a member; a multiple of `heads`.
        heads: number of attention heads.
        dropout: probability, in both branches.
        expansion: hidden width of the mlp, as a multiple of `width`.
    """

    def __init__(self, width: int, heads: int, *, dropout: float = 0.0, expansion: int = 2):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, expansion * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(expansion * width, width)
        )

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """Attend to the members that are present.

        Args:
            x: (n, members, width).
            present: (n, members) bool, with at least one True per row. No member attends to one that is absent.

        Returns:
            (n, members, width).
        """
        qkv = self.query_key_value(self.norm1(x))
        query, key, value = rearrange(qkv, "n member (part head d) -> part n head member d", part=3, head=self.heads)
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=present[:, None, None], dropout_p=dropout)
        mixed = self.out(rearrange(mixed, "n head member d -> n member (head d)"))
        x = x + F.dropout(mixed, dropout, self.training)
        return x + F.dropout(self.mlp(self.norm2(x)), dropout, self.training)
