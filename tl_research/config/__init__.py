"""The typed configuration of one run: `compose` makes it, `run_id` names it."""

from tl_research.config.compose import compose as compose
from tl_research.config.compose import typed_tree as typed_tree
from tl_research.config.identity import LAUNCH_KEYS as LAUNCH_KEYS
from tl_research.config.identity import run_id as run_id
from tl_research.config.schema import ACCELERATORS as ACCELERATORS
from tl_research.config.schema import COMMON_DATA_KEYS as COMMON_DATA_KEYS
from tl_research.config.schema import LARGEST_SEED as LARGEST_SEED
from tl_research.config.schema import LONGEST_NAME as LONGEST_NAME
from tl_research.config.schema import MOST_FOLDERS as MOST_FOLDERS
from tl_research.config.schema import MOST_THREADS as MOST_THREADS
from tl_research.config.schema import PRECISIONS as PRECISIONS
from tl_research.config.schema import DataConfig as DataConfig
from tl_research.config.schema import EncoderConfig as EncoderConfig
from tl_research.config.schema import MethodConfig as MethodConfig
from tl_research.config.schema import OptimizerConfig as OptimizerConfig
from tl_research.config.schema import RunConfig as RunConfig
from tl_research.config.schema import SelectionConfig as SelectionConfig
from tl_research.config.schema import TrainerConfig as TrainerConfig
from tl_research.config.schema import WandbConfig as WandbConfig
from tl_research.config.schema import WeightingConfig as WeightingConfig
from tl_research.config.schema import added_later as added_later
from tl_research.config.schema import check as check
from tl_research.config.schema import check_choice as check_choice
