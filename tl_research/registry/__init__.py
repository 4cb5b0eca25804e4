"""Names to classes: `@register_method`, `@register_dataset`, `@register_encoder`, and their listings.

A registry finds its entries by importing every module of one package, so that adding a method is adding a
file. `TL_RESEARCH_PLUGINS` (files or folders, separated as in PATH) adds modules from outside the package;
worker processes inherit it.
"""

from tl_research.registry.entries import LABEL_SETS as LABEL_SETS
from tl_research.registry.entries import OUTCOMES as OUTCOMES
from tl_research.registry.entries import PAIRED as PAIRED
from tl_research.registry.entries import SETTINGS as SETTINGS
from tl_research.registry.entries import SOURCE_FREE as SOURCE_FREE
from tl_research.registry.entries import TARGETS as TARGETS
from tl_research.registry.entries import WITH_LABEL_SETS as WITH_LABEL_SETS
from tl_research.registry.entries import DatasetEntry as DatasetEntry
from tl_research.registry.entries import EncoderEntry as EncoderEntry
from tl_research.registry.entries import Entry as Entry
from tl_research.registry.entries import MethodEntry as MethodEntry
from tl_research.registry.entries import SamplerEntry as SamplerEntry
from tl_research.registry.entries import WeightingEntry as WeightingEntry
from tl_research.registry.kinds import DATASETS as DATASETS
from tl_research.registry.kinds import ENCODERS as ENCODERS
from tl_research.registry.kinds import METHODS as METHODS
from tl_research.registry.kinds import METRIC_FAMILIES as METRIC_FAMILIES
from tl_research.registry.kinds import METRICS as METRICS
from tl_research.registry.kinds import REQUESTED_METRICS as REQUESTED_METRICS
from tl_research.registry.kinds import RULES as RULES
from tl_research.registry.kinds import SAMPLERS as SAMPLERS
from tl_research.registry.kinds import WEIGHTINGS as WEIGHTINGS
from tl_research.registry.kinds import register_dataset as register_dataset
from tl_research.registry.kinds import register_encoder as register_encoder
from tl_research.registry.kinds import register_method as register_method
from tl_research.registry.kinds import register_sampler as register_sampler
from tl_research.registry.kinds import register_weighting as register_weighting
from tl_research.registry.parts import Parts as Parts
from tl_research.registry.plugins import PLUGIN_VARIABLE as PLUGIN_VARIABLE
from tl_research.registry.plugins import import_plugins as import_plugins
from tl_research.registry.registry import Registry as Registry
from tl_research.registry.registry import registers as registers
