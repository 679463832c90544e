"""The bands of maps: one file per kind of output."""

from swath.scenes.layers.base import NEVER_SEEN as NEVER_SEEN
from swath.scenes.layers.base import NODATA as NODATA
from swath.scenes.layers.base import TEMPERATURE as TEMPERATURE
from swath.scenes.layers.base import Activation as Activation
from swath.scenes.layers.base import Array as Array
from swath.scenes.layers.base import BlockMap as BlockMap
from swath.scenes.layers.base import Bytes as Bytes
from swath.scenes.layers.base import Layer as Layer
from swath.scenes.layers.base import Layers as Layers
from swath.scenes.layers.classes import COVERAGE as COVERAGE
from swath.scenes.layers.classes import ClassLayers as ClassLayers
from swath.scenes.layers.classes import legend_of as legend_of
from swath.scenes.layers.classes import palette as palette
from swath.scenes.layers.dated import DATES as DATES
from swath.scenes.layers.dated import DatedLayers as DatedLayers
from swath.scenes.layers.dated import names_of_dates as names_of_dates
from swath.scenes.layers.features import FeatureLayers as FeatureLayers
from swath.scenes.layers.labels import LabelLayers as LabelLayers
from swath.scenes.layers.values import ValueLayers as ValueLayers
