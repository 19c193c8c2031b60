-- One row per claim uid that was promised a disk. `data` is the whole row as JSON and is what the program reads; the other
-- columns are for people with sqlite3 and for queries.
CREATE TABLE volumes (
    uid           TEXT PRIMARY KEY,
    id            TEXT NOT NULL UNIQUE,
    namespace     TEXT NOT NULL,
    name          TEXT NOT NULL,  -- of the claim
    status        TEXT NOT NULL,
    datavolume    TEXT NOT NULL,
    backing_class TEXT NOT NULL,
    source        TEXT NOT NULL,
    size          TEXT NOT NULL,  -- as a quantity, when it was promised
    lost          TEXT NOT NULL,  -- what became of the disk; empty as long as it is there
    accepted_at   TEXT NOT NULL,
    updated_at    TEXT NOT NULL,
    destroyed_at  TEXT,           -- set: a tombstone
    data          TEXT NOT NULL
);
CREATE INDEX volumes_by_name ON volumes (namespace, name);
CREATE INDEX volumes_by_destruction ON volumes (destroyed_at) WHERE destroyed_at IS NOT NULL;

CREATE TABLE volume_transitions (
    uid         TEXT NOT NULL REFERENCES volumes (uid) ON DELETE CASCADE,
    at          TEXT NOT NULL,
    from_status TEXT NOT NULL,
    to_status   TEXT NOT NULL,
    reason      TEXT NOT NULL
);
CREATE INDEX volume_transitions_by_uid ON volume_transitions (uid, at);
