-- Labels of runs, and who looked at or changed what was recorded.

-- A JSON array of strings.
ALTER TABLE runs ADD COLUMN tags TEXT NOT NULL DEFAULT '[]' CHECK (json_type(tags) = 'array');

CREATE TABLE accesses (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    action TEXT NOT NULL CHECK (action IN ('approve', 'reject', 'undo', 'rollback', 'export', 'gc')),
    who TEXT NOT NULL,
    run TEXT,
    step TEXT,
    detail TEXT NOT NULL DEFAULT ''
) STRICT;

-- What was noted stays noted.
CREATE TRIGGER accesses_stay BEFORE UPDATE ON accesses
BEGIN
    SELECT RAISE(ABORT, 'an access is not changed');
END;
CREATE TRIGGER accesses_all_stay BEFORE DELETE ON accesses
BEGIN
    SELECT RAISE(ABORT, 'an access is not deleted');
END;
