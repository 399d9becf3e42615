"""Two versions of a model under one name: the better one is promoted, a worse one is refused, and going back is one call.

    modelwire serve examples/diabetes.py:runner
    python examples/promotion.py

Predictions are asked of the name. Which version answers changes, the caller's code does not.
"""

import pandas as pd
from diabetes import TARGET, load_frames

from modelwire import Client, FailedPrecondition, MetricBounds, ModelVersion, PromotionGate

NAME = "diabetes"
METRIC = "rmse_of_unseen"


def main() -> None:
    """Plays it through against the server that MODELWIRE_TARGET names, or localhost:50051."""
    seen, unseen = load_frames()
    with Client() as client:
        forget(client)
        first = register(client, seen, unseen, "from age alone", features=["age"])
        client.registry.promote(NAME, first.version)
        print(f"{first.reference} is in production: {error_of(client, NAME, unseen):.1f}")

        # From now on a version must be described, and must not be worse than the one before.
        gate = PromotionGate(required=("description",), metrics={METRIC: MetricBounds(max_rise=0.0)})
        client.registry.update(NAME, gate=gate)

        second = register(client, seen, unseen, "from five measurements")
        client.registry.promote(NAME, second.version)
        print(f"{second.reference} is in production: {error_of(client, NAME, unseen):.1f}")

        third = register(client, seen, unseen, "hardly trained", epochs=1, alpha=10.0)
        try:
            client.registry.promote(NAME, third.version)
        except FailedPrecondition as refused:
            print(f"{third.reference} is refused:", *(violation.description for violation in refused.violations))

        client.registry.rollback(NAME)
        print(f"back to {client.registry.version(NAME).reference}: {error_of(client, NAME, unseen):.1f}")
        tell_what_happened(client)


def forget(client: Client) -> None:
    """Begins anew; the trained models stay."""
    if any(model.name == NAME for model in client.registry.list()):
        client.registry.delete(NAME)


def register(client: Client, seen: pd.DataFrame, unseen: pd.DataFrame, description: str, **config: object) -> ModelVersion:
    """Trains, measures on patients that training never saw, and registers the next version."""
    model = client.train(client.configs.create(description, config), seen).wait()
    return client.registry.register(NAME, model, description=description, metrics={METRIC: error_of(client, model.id, unseen)})


def error_of(client: Client, model: str, unseen: pd.DataFrame) -> float:
    """The root of the mean squared error; the model is an id or a name."""
    predicted = client.predict(model, unseen)["sample_0"]
    return float(((predicted - unseen[TARGET]) ** 2).mean() ** 0.5)


def tell_what_happened(client: Client) -> None:
    """The events since the name came into being, up to the rollback: a watch itself has no end."""
    begun = client.registry.get(NAME).created_at
    for event in client.registry.watch(NAME):
        if event.time < begun:
            continue
        version = f"{event.name}/{event.version}" if event.version else event.name
        print(f"  {event.kind} {version} {event.alias}".rstrip())
        if event.kind == "rolled_back":
            return


if __name__ == "__main__":
    main()
