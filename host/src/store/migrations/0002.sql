-- What waited, or was denied in the middle, may be taken back by another run.

DROP TRIGGER runs_status;

CREATE TRIGGER runs_status BEFORE UPDATE OF status ON runs
WHEN OLD.status <> NEW.status AND OLD.rebuilds = NEW.rebuilds AND (OLD.status, NEW.status) NOT IN (VALUES
    ('pending', 'running'), ('pending', 'failed'), ('pending', 'denied'), ('pending', 'refused'), ('pending', 'cancelled'),
    ('running', 'completed'), ('running', 'failed'), ('running', 'denied'), ('running', 'refused'), ('running', 'cancelled'),
    ('running', 'paused'), ('running', 'unknown'), ('running', 'rolled-back'), ('running', 'rollback-incomplete'),
    ('paused', 'running'), ('paused', 'failed'), ('paused', 'cancelled'),
    ('paused', 'rolled-back'), ('paused', 'rollback-incomplete'),
    ('unknown', 'running'), ('unknown', 'failed'), ('unknown', 'cancelled'),
    ('unknown', 'rolled-back'), ('unknown', 'rollback-incomplete'),
    ('completed', 'rolled-back'), ('completed', 'rollback-incomplete'),
    ('failed', 'rolled-back'), ('failed', 'rollback-incomplete'),
    ('denied', 'rolled-back'), ('denied', 'rollback-incomplete'),
    ('cancelled', 'rolled-back'), ('cancelled', 'rollback-incomplete'),
    ('rollback-incomplete', 'rolled-back'))
BEGIN
    SELECT RAISE(ABORT, 'a run may not change its status so');
END;
