"""Endpoints: what was, what is and what would be: explanations, proof, simulation, counts, events."""

from __future__ import annotations

from gateway.api import events, explain, proof, simulate, stats
from gateway.api.models.events import EventList, EventQuery
from gateway.api.models.explain import ExplainAnswer, ExplainQuery
from gateway.api.models.proof import ProofAnswer, ProofQuery
from gateway.api.models.simulation import SimulationAnswer, SimulationBody
from gateway.api.models.stats import DailyAnswer, DailyQuery
from gateway.api.routes.route import JOB, V1, Route

ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        f"{JOB}/explain",
        explain.of_job,
        "Why a job ran, runs late, waits or does not run at an instant",
        {200: ExplainAnswer},
        query=ExplainQuery,
        problems=(404,),
    ),
    Route(
        "POST",
        f"{V1}/simulate",
        simulate.simulate,
        "What would happen in a range of time; nothing is touched",
        {200: SimulationAnswer},
        SimulationBody,
        problems=(404, 409),
    ),
    Route(
        "GET",
        f"{V1}/proof",
        proof.page,
        "Prove that no slot was lost or doubled",
        {200: ProofAnswer},
        query=ProofQuery,
        problems=(404,),
    ),
    Route(
        "GET",
        f"{V1}/stats/daily",
        stats.daily,
        "How the runs of each day went",
        {200: DailyAnswer},
        query=DailyQuery,
        problems=(404,),
    ),
    Route(
        "GET",
        f"{V1}/events",
        events.page,
        "List what was changed and noticed, newest first",
        {200: EventList},
        query=EventQuery,
    ),
)
