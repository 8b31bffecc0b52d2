"""The first version of the service: Flask, one psycopg2 connection per worker, and its query of the prices."""

import os

import psycopg2
from flask import Flask, Response, jsonify, request  # type: ignore[import-not-found, unused-ignore]

QUERY = """
SELECT days.day::date::text AS day, count(p.price), avg(p.price)::float8
FROM generate_series(%(date_from)s::date, %(date_to)s::date, '1 day') AS days (day)
LEFT JOIN first_prices AS p
    ON p.day = days.day::date AND p.orig_code = %(orig_code)s AND p.dest_code = %(dest_code)s
GROUP BY days.day
ORDER BY days.day DESC
"""

app = Flask(__name__)
connection = None


@app.get("/rates")
def rates() -> Response:
    """Respond like the first version."""
    global connection
    if connection is None:
        connection = psycopg2.connect(os.environ["DATABASE_URL"])
        connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(QUERY, request.args.to_dict())
        found = [
            {"day": day, "count": count or None, "price": average if count >= 3 else None}
            for day, count, average in cursor
        ]
    return jsonify(rates=found)
