from swath.api import baseline as baseline
from swath.api import calibrate as calibrate
from swath.api import card as card
from swath.api import convert as convert
from swath.api import demo as demo
from swath.api import embed as embed
from swath.api import evaluate as evaluate
from swath.api import finetune as finetune
from swath.api import inspect as inspect
from swath.api import pack as pack
from swath.api import predict as predict
from swath.api import pretrain as pretrain
from swath.api import probe as probe

__version__: str
_VERBS: tuple[str, ...]
