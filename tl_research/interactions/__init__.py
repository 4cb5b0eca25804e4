"""Who bought what, in which shop: interaction logs, their splits, their twins, the ranks of held-out purchases."""
