-- The order of runs and of the ends of steps, which no clock decides: a clock may be set back.

ALTER TABLE runs ADD COLUMN sequence INTEGER;
UPDATE runs SET sequence = numbered.n FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM runs) AS numbered
WHERE numbered.id = runs.id;
CREATE INDEX runs_by_sequence ON runs (sequence);

CREATE TABLE step_order (
    ordinal INTEGER PRIMARY KEY,
    run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    UNIQUE (run, position)
) STRICT;

INSERT INTO step_order (run, position)
SELECT steps.run, steps.position FROM steps JOIN runs ON runs.id = steps.run WHERE steps.end_seq IS NOT NULL
ORDER BY coalesce(steps.ended_at, runs.created_at), steps.run, steps.position;
