-- One row per Pod uid. `data` is the whole intent as JSON and is what the program reads; the other columns are for people
-- with sqlite3 and for queries. Times are UTC, ISO 8601, of one width, so that they compare as text.
CREATE TABLE intents (
    uid            TEXT PRIMARY KEY,
    id             TEXT NOT NULL UNIQUE,
    namespace      TEXT NOT NULL,
    name           TEXT NOT NULL,
    status         TEXT NOT NULL,
    vm_name        TEXT NOT NULL,
    vm_uid         TEXT NOT NULL,
    vmi_uid        TEXT NOT NULL,
    restart_count  INTEGER NOT NULL,
    cpu            INTEGER NOT NULL,  -- vCPUs
    memory         INTEGER NOT NULL,  -- bytes
    disk           INTEGER NOT NULL,  -- bytes
    outcome        TEXT NOT NULL,
    outcome_reason TEXT NOT NULL,
    accepted_at    TEXT NOT NULL,
    updated_at     TEXT NOT NULL,
    destroyed_at   TEXT,              -- set: a tombstone
    data           TEXT NOT NULL
);
CREATE INDEX intents_by_name ON intents (namespace, name);
CREATE INDEX intents_by_destruction ON intents (destroyed_at) WHERE destroyed_at IS NOT NULL;

CREATE TABLE transitions (
    uid         TEXT NOT NULL REFERENCES intents (uid) ON DELETE CASCADE,
    at          TEXT NOT NULL,
    from_status TEXT NOT NULL,
    to_status   TEXT NOT NULL,
    reason      TEXT NOT NULL
);
CREATE INDEX transitions_by_uid ON transitions (uid, at);

-- One row per boot of the VM, the first one included.
CREATE TABLE restarts (
    uid         TEXT NOT NULL REFERENCES intents (uid) ON DELETE CASCADE,
    vmi_uid     TEXT NOT NULL,
    started_at  TEXT,
    finished_at TEXT,
    exit_code   INTEGER,
    reason      TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (uid, vmi_uid)
);

-- One-shot actions asked for by annotation. The nonce makes each happen once, so rows live as long as their intent.
CREATE TABLE actions (
    uid          TEXT NOT NULL REFERENCES intents (uid) ON DELETE CASCADE,
    nonce        TEXT NOT NULL,
    action       TEXT NOT NULL,
    requested_at TEXT NOT NULL,
    state        TEXT NOT NULL,
    finished_at  TEXT,
    result       TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (uid, nonce)
);

-- Written to find out whether the disk takes writes again.
CREATE TABLE probe (
    slot   INTEGER PRIMARY KEY CHECK (slot = 1),
    filler BLOB NOT NULL
);
