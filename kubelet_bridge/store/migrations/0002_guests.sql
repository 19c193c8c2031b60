-- One row per Pod uid whose agent has been welcomed; it goes when the Pod is forgotten. `data` is the whole record as
-- JSON and is what the program reads. Tokens are here as SHA-256 only.
CREATE TABLE guests (
    uid           TEXT PRIMARY KEY,
    namespace     TEXT NOT NULL,
    name          TEXT NOT NULL,
    session_hash  TEXT NOT NULL,
    pending_hash  TEXT NOT NULL,  -- handed out, not confirmed
    used_boot     TEXT NOT NULL,  -- uid of the VMI whose boot token is used up
    agent_version TEXT NOT NULL,
    os            TEXT NOT NULL,
    report_number INTEGER,        -- of the last report
    seen_at       TEXT,
    updated_at    TEXT NOT NULL,
    data          TEXT NOT NULL
);
