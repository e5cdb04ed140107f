"""The prediction store, as an asset or a sensor asks for it."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from bento.settings import get_settings
from bento.store import PredictionStore, open_store


class PredictionStoreResource(dg.ConfigurableResource[PredictionStore]):
    """SQLite or MongoDB, whichever the settings name; opened for the time of a `with`."""

    @contextmanager
    def connect(self) -> Iterator[PredictionStore]:
        """The store; closed afterwards."""
        store = open_store(get_settings())
        try:
            yield store
        finally:
            store.close()


@dg.definitions
def defs() -> dg.Definitions:
    """`prediction_store`."""
    return dg.Definitions(resources={"prediction_store": PredictionStoreResource()})
