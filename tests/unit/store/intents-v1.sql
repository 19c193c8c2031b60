-- A database as schema version 1 wrote it: one row with a field that came later, one tombstone, one whose data is broken.
PRAGMA foreign_keys = OFF;
BEGIN TRANSACTION;
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
INSERT INTO "intents" VALUES('8d5c9f0e-1','dpl_a1b2c3d4','shop','web-0','running','web-0','vm-1','vmi-3',2,2,2147483648,0,'','','2026-01-02T03:04:05.000Z','2026-01-02T03:05:45.000Z',NULL,'{"uid":"8d5c9f0e-1","id":"dpl_a1b2c3d4","namespace":"shop","name":"web-0","status":"running","vm_name":"web-0","vm_uid":"vm-1","spec_hash":"","boot_image":"","applied_generation":0,"replace_vmi_uid":"","allocation":{"cpu":2,"memory":2147483648,"disk":0,"mac":"","ports":[80],"requests":{"web":{"cpu":"2"}}},"vmi_uid":"vmi-3","vmi_started":true,"vmi_stopping":false,"restart_count":2,"last_termination":{"vmi_uid":"vmi-2","exit_code":1,"reason":"Error","message":"","started_at":"2026-01-02T03:04:05Z","finished_at":"2026-01-02T03:05:35Z"},"termination":null,"outcome":"","outcome_reason":"","outcome_message":"","accepted_at":"2026-01-02T03:04:05Z","deletion_grace":null,"rejected":false,"of_a_later_version":{"x":[1]}}');
INSERT INTO "intents" VALUES('8d5c9f0e-2','dpl_e5f6g7h8','shop','job-1','destroyed','job-1','','',0,0,0,0,'Succeeded','','2026-01-02T03:04:05.000Z','2026-01-02T04:04:05.000Z','2026-01-02T04:04:05.000Z','{"uid":"8d5c9f0e-2","id":"dpl_e5f6g7h8","namespace":"shop","name":"job-1","status":"destroyed","vm_name":"job-1","vm_uid":"","spec_hash":"","boot_image":"","applied_generation":0,"replace_vmi_uid":"","allocation":{"cpu":0,"memory":0,"disk":0,"mac":"","ports":[],"requests":{}},"vmi_uid":"","vmi_started":false,"vmi_stopping":false,"restart_count":0,"last_termination":null,"termination":null,"outcome":"Succeeded","outcome_reason":"","outcome_message":"","accepted_at":"2026-01-02T03:04:05Z","deletion_grace":null,"rejected":false}');
INSERT INTO "intents" VALUES('8d5c9f0e-3','dpl_i9j0k1l2','shop','odd','provisioning','','','',0,0,0,0,'','','2026-01-02T03:04:05.000Z','2026-01-02T03:04:05.000Z',NULL,'{');
CREATE TABLE probe (
    slot   INTEGER PRIMARY KEY CHECK (slot = 1),
    filler BLOB NOT NULL
);
CREATE TABLE restarts (
    uid         TEXT NOT NULL REFERENCES intents (uid) ON DELETE CASCADE,
    vmi_uid     TEXT NOT NULL,
    started_at  TEXT,
    finished_at TEXT,
    exit_code   INTEGER,
    reason      TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (uid, vmi_uid)
);
INSERT INTO "restarts" VALUES('8d5c9f0e-1','vmi-1','2026-01-02T03:04:25.000Z',NULL,NULL,'');
INSERT INTO "restarts" VALUES('8d5c9f0e-1','vmi-3','2026-01-02T03:05:45.000Z',NULL,NULL,'');
INSERT INTO "restarts" VALUES('8d5c9f0e-1','vmi-2','2026-01-02T03:04:05.000Z','2026-01-02T03:05:35.000Z',1,'Error');
CREATE TABLE transitions (
    uid         TEXT NOT NULL REFERENCES intents (uid) ON DELETE CASCADE,
    at          TEXT NOT NULL,
    from_status TEXT NOT NULL,
    to_status   TEXT NOT NULL,
    reason      TEXT NOT NULL
);
INSERT INTO "transitions" VALUES('8d5c9f0e-1','2026-01-02T03:04:05.000Z','','provisioning','Accepted');
INSERT INTO "transitions" VALUES('8d5c9f0e-1','2026-01-02T03:04:25.000Z','provisioning','running','Observed');
INSERT INTO "transitions" VALUES('8d5c9f0e-2','2026-01-02T03:04:05.000Z','','off','Accepted');
INSERT INTO "transitions" VALUES('8d5c9f0e-2','2026-01-02T04:04:05.000Z','off','destroyed','PodGone');
INSERT INTO "transitions" VALUES('8d5c9f0e-3','2026-01-02T03:04:05.000Z','','provisioning','Accepted');
CREATE INDEX intents_by_name ON intents (namespace, name);
CREATE INDEX intents_by_destruction ON intents (destroyed_at) WHERE destroyed_at IS NOT NULL;
CREATE INDEX transitions_by_uid ON transitions (uid, at);
COMMIT;
PRAGMA user_version = 1;
