"""The same service and query with FastAPI and asyncpg, with a pool and prepared statements."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

import asyncpg  # type: ignore[import-not-found, import-untyped, unused-ignore]
from fastapi import FastAPI  # type: ignore[import-not-found, unused-ignore]

QUERY = """
SELECT days.day::date AS day, count(p.price) AS count, avg(p.price)::float8 AS price
FROM generate_series($1::date, $2::date, '1 day') AS days (day)
LEFT JOIN first_prices AS p ON p.day = days.day::date AND p.orig_code = $3 AND p.dest_code = $4
GROUP BY days.day
ORDER BY days.day DESC
"""


@asynccontextmanager
async def pool(app: FastAPI) -> AsyncIterator[None]:
    """Open the pool, for as long as the service runs."""
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=4, max_size=8) as app.state.pool:
        yield


app = FastAPI(lifespan=pool)


@app.get("/rates")
async def rates(date_from: date, date_to: date, orig_code: str, dest_code: str) -> dict[str, list[dict[str, Any]]]:
    """Respond like the first version."""
    rows = await app.state.pool.fetch(QUERY, date_from, date_to, orig_code, dest_code)
    return {
        "rates": [
            {"day": row["day"], "count": row["count"] or None, "price": row["price"] if row["count"] >= 3 else None}
            for row in rows
        ]
    }
