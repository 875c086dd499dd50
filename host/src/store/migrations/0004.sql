-- Idempotency keys: which request was made under which, and what was answered. Of no run's rows, because most requests keep no run.

CREATE TABLE requests (
    key TEXT NOT NULL PRIMARY KEY,
    request TEXT NOT NULL,
    owner TEXT,
    run TEXT,
    answer TEXT,
    asked_at TEXT NOT NULL,
    answered_at TEXT,
    -- Somebody answers it, or it is answered, or its answer is not known any more.
    CHECK (owner IS NULL OR (answer IS NULL AND answered_at IS NULL))
) STRICT;

CREATE INDEX requests_by_age ON requests (asked_at);
