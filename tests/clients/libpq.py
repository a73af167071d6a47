"""Connects with libpq 16 or later, so often to each URI, and tells each answer to a query in a line of its own.

Usage: libpq.py QUERY TIMES URI...
"""

import sys

from psycopg import pq

query, times, *uris = sys.argv[1:]
assert pq.version() >= 160000, pq.version()


def answer(uri: str) -> str:
    # libpq itself: psycopg's own connect() takes the hosts of a URI apart and chooses among them.
    connection = pq.PGconn.connect(uri.encode())
    try:
        if connection.status != pq.ConnStatus.OK:
            return connection.error_message.decode()
        result = connection.exec_(query.encode())
        if result.status != pq.ExecStatus.TUPLES_OK:
            return result.error_message.decode()
        return result.get_value(0, 0).decode()
    finally:
        connection.finish()


for uri in uris:
    for _ in range(int(times)):
        print(" ".join(answer(uri).split()))
