"""Which kind of study is asked how."""

from pipeline.models import Study
from pipeline.quality import attacks, proposals, writing
from pipeline.quality.studies import Kind

KINDS: dict[str, Kind] = {
    Study.PROBES: attacks.KIND,
    Study.CRITERION: proposals.KIND,
    Study.PROMPT: proposals.KIND,
    Study.WRITING: writing.KIND,
}
