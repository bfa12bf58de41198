-- Whose journal it is, and the file that it was made in: one row. `follows` is the key of the
-- stream that it takes over from.
CREATE TABLE identity (
    operator TEXT NOT NULL,
    kid      BLOB NOT NULL CHECK (length(kid) = 32),
    follows  BLOB CHECK (length(follows) = 32),
    inode    INTEGER NOT NULL,
    born     INTEGER
) STRICT;

-- The stream: every record of this enforcer key, and what opens its salted digests.
CREATE TABLE record (
    sequence INTEGER PRIMARY KEY,
    bytes    BLOB NOT NULL,
    openings BLOB
) STRICT;

-- Authentic records of other operators, in the order they came.
CREATE TABLE received (
    number   INTEGER PRIMARY KEY,
    operator TEXT NOT NULL,
    bytes    BLOB NOT NULL,
    arrived  INTEGER NOT NULL -- by our clock, in milliseconds
) STRICT;

-- What other operators have disclosed to us of their records: openings, by the record's id.
CREATE TABLE disclosed (
    record   BLOB PRIMARY KEY CHECK (length(record) = 32),
    openings BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- The terms of contracts, always in clear, since calls are held against them: the disclosure that
-- opens the digest, by which records refer to them.
CREATE TABLE terms (
    operator   TEXT NOT NULL,
    digest     BLOB NOT NULL CHECK (length(digest) = 32),
    disclosure BLOB NOT NULL,
    PRIMARY KEY (operator, digest)
) STRICT, WITHOUT ROWID;

-- Authentic records of other operators that do not continue their channel: evidence against
-- whoever signed them. They are kept, once each, and never replayed.
CREATE TABLE refused (
    id       BLOB PRIMARY KEY CHECK (length(id) = 32),
    operator TEXT NOT NULL,
    reason   TEXT NOT NULL,
    bytes    BLOB NOT NULL
) STRICT;

-- Sealed batches: the commitment, and what the log answered.
CREATE TABLE batch (
    number     INTEGER PRIMARY KEY,
    first      INTEGER NOT NULL,
    count      INTEGER NOT NULL,
    commitment BLOB NOT NULL,
    log_proof  BLOB
) STRICT;

-- Cosigned checkpoints that records name as their beacon.
CREATE TABLE checkpoint (
    digest BLOB PRIMARY KEY CHECK (length(digest) = 32),
    note   BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Where a record's id is: written behind, a batch at a time, and rebuildable.
CREATE TABLE record_id (
    id       BLOB PRIMARY KEY CHECK (length(id) = 32),
    sequence INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
