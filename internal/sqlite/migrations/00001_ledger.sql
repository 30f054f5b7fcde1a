-- The ledger's first format. Times are Unix milliseconds unless a column says
-- otherwise; exp is Unix seconds with 9223372036854775807 for never, so that
-- "not over yet" is one range. Keys are time-ordered: inserts go to the end of
-- each index, or of one dimension's run of it.

-- +goose Up
CREATE TABLE head (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    seq      INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    issued   INTEGER NOT NULL,
    row_seq  INTEGER NOT NULL,
    row_hash BLOB    NOT NULL,
    term     INTEGER NOT NULL,
    edge     BLOB    NOT NULL,
    signed   BLOB    NOT NULL
) STRICT;

-- token is NULL on the token's own stream, which names it already.
CREATE TABLE events (
    seq     INTEGER PRIMARY KEY,
    stream  TEXT    NOT NULL,
    version INTEGER NOT NULL,
    type    TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    actor   TEXT    NOT NULL,
    token   TEXT,
    subject TEXT,
    client  TEXT,
    release TEXT,
    data    BLOB,
    salt    BLOB    NOT NULL
) STRICT;
CREATE UNIQUE INDEX events_stream ON events (stream, version);
CREATE INDEX events_token ON events (token) WHERE token IS NOT NULL;
CREATE INDEX events_subject ON events (subject) WHERE subject IS NOT NULL;
-- What happened to a client's or release's tokens is found through the tokens.
CREATE INDEX events_client ON events (client) WHERE client IS NOT NULL AND substr(stream, 1, 6) <> 'token/';
CREATE INDEX events_release ON events (release) WHERE release IS NOT NULL AND substr(stream, 1, 6) <> 'token/';

-- The audit tree's hashes in tlog's storage order, 64 to a row.
CREATE TABLE hashes (
    chunk  INTEGER PRIMARY KEY,
    hashes BLOB NOT NULL
) STRICT;

-- body holds what never changes; the rest is for finding, or changes.
CREATE TABLE tokens (
    n        INTEGER PRIMARY KEY,
    id       TEXT    NOT NULL,
    kind     INTEGER NOT NULL,
    issuer   TEXT    NOT NULL,
    subject  TEXT,
    client   TEXT,
    grant_id TEXT,
    family   TEXT,
    release  TEXT,
    key      TEXT,
    seq      INTEGER NOT NULL,
    iat      INTEGER NOT NULL,
    exp      INTEGER NOT NULL,
    scopes   TEXT    NOT NULL,
    audience TEXT    NOT NULL,
    handle   BLOB,
    body     BLOB    NOT NULL,
    state    INTEGER NOT NULL,
    reason   TEXT    NOT NULL,
    by_id    TEXT    NOT NULL,
    version  INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX tokens_id ON tokens (id);
CREATE UNIQUE INDEX tokens_handle ON tokens (handle) WHERE handle IS NOT NULL;
CREATE INDEX tokens_exp ON tokens (exp);
CREATE INDEX tokens_iat ON tokens (iat, seq) WHERE kind <> 5;
CREATE INDEX tokens_subject ON tokens (subject, exp) WHERE subject IS NOT NULL;
CREATE INDEX tokens_client ON tokens (client, exp) WHERE client IS NOT NULL;
CREATE INDEX tokens_grant ON tokens (grant_id, exp) WHERE grant_id IS NOT NULL;
CREATE INDEX tokens_family ON tokens (family, exp) WHERE family IS NOT NULL;
CREATE INDEX tokens_release ON tokens (release, exp) WHERE release IS NOT NULL;
CREATE INDEX tokens_key ON tokens (key, exp) WHERE key IS NOT NULL;

CREATE TABLE families (
    id          TEXT    PRIMARY KEY,
    grant_id    TEXT    NOT NULL,
    current     TEXT    NOT NULL,
    previous    TEXT    NOT NULL,
    grace_until INTEGER NOT NULL,
    revoked     INTEGER NOT NULL,
    reason      TEXT    NOT NULL,
    version     INTEGER NOT NULL
) STRICT;
CREATE INDEX families_grant ON families (grant_id);

CREATE TABLE grants (
    id      TEXT    PRIMARY KEY,
    subject TEXT    NOT NULL,
    client  TEXT    NOT NULL,
    body    BLOB    NOT NULL,
    revoked INTEGER NOT NULL,
    reason  TEXT    NOT NULL,
    version INTEGER NOT NULL
) STRICT;
CREATE INDEX grants_subject ON grants (subject);

-- Answers kept for the grace window; not part of what can be folded again.
CREATE TABLE sealed (
    family TEXT    PRIMARY KEY,
    body   BLOB    NOT NULL,
    until  INTEGER NOT NULL
) STRICT;
CREATE INDEX sealed_until ON sealed (until);

CREATE TABLE documents (
    kind    TEXT    NOT NULL,
    id      TEXT    NOT NULL,
    version INTEGER NOT NULL,
    body    BLOB    NOT NULL,
    ref     TEXT,
    expires INTEGER, -- Unix seconds
    updated INTEGER NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX documents_ref ON documents (kind, ref) WHERE ref IS NOT NULL;
CREATE INDEX documents_expires ON documents (expires) WHERE expires IS NOT NULL;

CREATE TABLE state_rows (
    seq       INTEGER PRIMARY KEY,
    hash      BLOB    NOT NULL,
    prev      BLOB    NOT NULL,
    term      INTEGER NOT NULL,
    epoch     INTEGER NOT NULL,
    issued    INTEGER NOT NULL,
    event     INTEGER NOT NULL,
    body      BLOB    NOT NULL,
    signature BLOB    NOT NULL
) STRICT;

CREATE TABLE revocations (
    id       TEXT    PRIMARY KEY,
    row_seq  INTEGER NOT NULL,
    forget   INTEGER NOT NULL, -- Unix seconds; 0 never
    body     BLOB    NOT NULL,
    restored INTEGER NOT NULL -- row that restored it; 0 in force
) STRICT;
CREATE INDEX revocations_row ON revocations (row_seq, id) WHERE restored = 0;
CREATE INDEX revocations_forget ON revocations (forget) WHERE forget > 0;

CREATE TABLE once (
    space   TEXT    NOT NULL,
    key     TEXT    NOT NULL,
    expires INTEGER NOT NULL,
    PRIMARY KEY (space, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX once_expires ON once (expires);

CREATE TABLE usage_tokens (
    token   TEXT    PRIMARY KEY,
    uses    INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    first   INTEGER NOT NULL,
    last    INTEGER NOT NULL,
    gateway TEXT    NOT NULL,
    route   TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE usage_routes (
    token  TEXT    NOT NULL,
    route  TEXT    NOT NULL,
    served TEXT    NOT NULL,
    code   TEXT    NOT NULL,
    n      INTEGER NOT NULL,
    first  INTEGER NOT NULL,
    last   INTEGER NOT NULL,
    PRIMARY KEY (token, route, served, code)
) STRICT, WITHOUT ROWID;

CREATE TABLE usage_hours (
    hour    INTEGER NOT NULL, -- Unix seconds, start
    release TEXT    NOT NULL,
    served  TEXT    NOT NULL,
    route   TEXT    NOT NULL,
    code    TEXT    NOT NULL,
    n       INTEGER NOT NULL,
    PRIMARY KEY (hour, release, served, route, code)
) STRICT, WITHOUT ROWID;

-- Batches of each boot that were folded: all up to upto, and those in above (a
-- sorted JSON array) that came out of turn.
CREATE TABLE boots (
    gateway TEXT    NOT NULL,
    boot    TEXT    NOT NULL,
    upto    INTEGER NOT NULL,
    above   TEXT    NOT NULL,
    PRIMARY KEY (gateway, boot)
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE boots;
DROP TABLE usage_hours;
DROP TABLE usage_routes;
DROP TABLE usage_tokens;
DROP TABLE once;
DROP TABLE revocations;
DROP TABLE state_rows;
DROP TABLE documents;
DROP TABLE sealed;
DROP TABLE grants;
DROP TABLE families;
DROP TABLE tokens;
DROP TABLE hashes;
DROP TABLE events;
DROP TABLE head;
