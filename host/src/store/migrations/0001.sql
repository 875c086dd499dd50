-- The index of runs, version 1. `docs/store-format.md` says what each column means.
-- Times are RFC 3339 in UTC with six decimals, so that they sort as text. Digests are 64 lower-case hex digits.

CREATE TABLE runs (
    id TEXT NOT NULL PRIMARY KEY,
    folder TEXT NOT NULL,
    plan_name TEXT NOT NULL DEFAULT '',
    plan TEXT,
    policy TEXT,
    principal TEXT,
    status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN (
        'pending', 'running', 'paused', 'unknown', 'completed', 'failed', 'denied', 'refused', 'cancelled', 'rolled-back',
        'rollback-incomplete')),
    reason TEXT NOT NULL DEFAULT '',
    resumed_from TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    events INTEGER NOT NULL DEFAULT 0 CHECK (events >= 0),
    head TEXT,
    steps INTEGER NOT NULL DEFAULT 0 CHECK (steps >= 0),
    fuel INTEGER NOT NULL DEFAULT 0 CHECK (fuel >= 0),
    damage TEXT,
    rebuilds INTEGER NOT NULL DEFAULT 0 CHECK (rebuilds >= 0)
) STRICT, WITHOUT ROWID;

CREATE INDEX runs_by_status ON runs (status);

-- The state machine of a run. A status may go another way only where the rows are built again from the trace.
CREATE TRIGGER runs_status BEFORE UPDATE OF status ON runs
WHEN OLD.status <> NEW.status AND OLD.rebuilds = NEW.rebuilds AND (OLD.status, NEW.status) NOT IN (VALUES
    ('pending', 'running'), ('pending', 'failed'), ('pending', 'denied'), ('pending', 'refused'), ('pending', 'cancelled'),
    ('running', 'completed'), ('running', 'failed'), ('running', 'denied'), ('running', 'refused'), ('running', 'cancelled'),
    ('running', 'paused'), ('running', 'unknown'), ('running', 'rolled-back'), ('running', 'rollback-incomplete'),
    ('paused', 'running'), ('paused', 'failed'), ('paused', 'cancelled'),
    ('unknown', 'running'), ('unknown', 'failed'), ('unknown', 'cancelled'),
    ('completed', 'rolled-back'), ('completed', 'rollback-incomplete'),
    ('failed', 'rolled-back'), ('failed', 'rollback-incomplete'),
    ('cancelled', 'rolled-back'), ('cancelled', 'rollback-incomplete'),
    ('rollback-incomplete', 'rolled-back'))
BEGIN
    SELECT RAISE(ABORT, 'a run may not change its status so');
END;

CREATE TABLE steps (
    run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    position INTEGER NOT NULL CHECK (position >= 0),
    step TEXT NOT NULL,
    tool TEXT,
    attempt INTEGER NOT NULL DEFAULT 1 CHECK (attempt >= 1),
    status TEXT NOT NULL CHECK (status IN (
        'running', 'completed', 'failed', 'trapped', 'limit-exceeded', 'cancelled', 'denied', 'skipped', 'reused', 'conflict')),
    fingerprint TEXT,
    begin_seq INTEGER,
    end_seq INTEGER,
    ended_at TEXT,
    fuel INTEGER,
    calls INTEGER,
    duration_us INTEGER,
    reused_from TEXT,
    changed INTEGER CHECK (changed >= 0),
    undone_by TEXT,
    undo_dropped INTEGER NOT NULL DEFAULT 0 CHECK (undo_dropped IN (0, 1)),
    PRIMARY KEY (run, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX steps_by_step ON steps (run, step);
CREATE INDEX steps_by_fingerprint ON steps (fingerprint) WHERE fingerprint IS NOT NULL;
-- What can be undone.
CREATE INDEX steps_to_undo ON steps (ended_at) WHERE changed > 0 AND undone_by IS NULL AND undo_dropped = 0;

CREATE TABLE events (
    run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL CHECK (seq >= 0),
    kind TEXT NOT NULL,
    step TEXT,
    tool TEXT,
    status TEXT,
    reason TEXT,
    at TEXT,
    hash TEXT NOT NULL,
    json TEXT,
    PRIMARY KEY (run, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE approvals (
    run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    step TEXT NOT NULL,
    subject TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'approved', 'rejected', 'expired', 'invalid')),
    request TEXT NOT NULL,
    requested_at TEXT NOT NULL,
    expires_at TEXT,
    decided_at TEXT,
    decided_by TEXT,
    reason TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (run, step, subject)
) STRICT, WITHOUT ROWID;

-- One question of a step is open at a time.
CREATE UNIQUE INDEX approvals_pending ON approvals (run, step) WHERE state = 'pending';

-- What was decided stays decided.
CREATE TRIGGER approvals_once BEFORE UPDATE ON approvals WHEN OLD.state <> 'pending'
BEGIN
    SELECT RAISE(ABORT, 'the approval is decided');
END;

CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY,
    run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    step TEXT NOT NULL,
    url TEXT NOT NULL,
    at TEXT NOT NULL,
    status INTEGER,
    error TEXT
) STRICT;

CREATE INDEX deliveries_by_run ON deliveries (run);

-- Who did what: the events of the traces with the run and the step that they belong to.
CREATE VIEW audit AS
SELECT
    events.run AS run, events.seq AS seq, events.at AS at, runs.principal AS principal, runs.plan_name AS plan,
    events.kind AS action, events.step AS step, coalesce(events.tool, steps.tool) AS tool, events.status AS status,
    events.reason AS reason, steps.fuel AS fuel, steps.calls AS calls, steps.duration_us AS duration_us,
    steps.changed AS changed, steps.undone_by AS undone_by, events.hash AS hash, events.json AS json
FROM events
JOIN runs ON runs.id = events.run
LEFT JOIN steps ON events.kind = 'step-end' AND steps.run = events.run AND steps.end_seq = events.seq;
