-- On whose behalf a task was enqueued (banksia.Cause); NULL once it has ended. The
-- index answers how long the queue is without looking at the rows.

ALTER TABLE tasks ADD COLUMN cause TEXT;
DROP INDEX tasks_by_due;
CREATE INDEX tasks_by_due ON tasks (due_at, task_type, status) WHERE due_at IS NOT NULL;
