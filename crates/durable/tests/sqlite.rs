//! Creating and opening databases, and the precise refusals.

#![allow(clippy::unwrap_used, reason = "test helpers")]

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use counterfoil_durable::{
    Error,
    sqlite::{self, Format},
};

const FORMAT: Format = Format {
    application_id: 0x0102_0304,
    version: 3,
    schema: "CREATE TABLE parent (id INTEGER PRIMARY KEY);
             CREATE TABLE child (id INTEGER PRIMARY KEY REFERENCES parent (id));",
    busy_timeout: Duration::from_millis(20),
};

fn new(directory: &tempfile::TempDir) -> std::path::PathBuf {
    let path = directory.path().join("a.sqlite");
    drop(sqlite::create(&path, &FORMAT).unwrap());
    path
}

fn pragma(connection: &rusqlite::Connection, name: &str) -> String {
    connection
        .pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0))
        .map(|value| match value {
            rusqlite::types::Value::Integer(number) => number.to_string(),
            rusqlite::types::Value::Text(text) => text,
            other => format!("{other:?}"),
        })
        .unwrap()
}

#[test]
fn opens_with_the_promised_settings() {
    let directory = tempfile::tempdir().unwrap();
    let path = new(&directory);
    let connection = sqlite::open(&path, &FORMAT).unwrap();
    assert_eq!(pragma(&connection, "journal_mode"), "wal");
    assert_eq!(pragma(&connection, "synchronous"), "2");
    assert_eq!(pragma(&connection, "foreign_keys"), "1");
    assert_eq!(pragma(&connection, "busy_timeout"), "20");
    assert!(
        connection
            .execute("INSERT INTO child VALUES (1)", ())
            .is_err()
    );
    connection
        .execute("INSERT INTO parent VALUES (1)", ())
        .unwrap();
    for entry in fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
    }
    let reader = sqlite::open_read_only(&path, &FORMAT).unwrap();
    let count: i64 = reader
        .query_row("SELECT count(*) FROM parent", (), |row| row.get(0))
        .unwrap();
    assert_eq!(count, 1);
    assert!(reader.execute("INSERT INTO parent VALUES (2)", ()).is_err());
}

#[test]
fn opening_never_creates_and_creating_never_opens() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("missing.sqlite");
    assert!(matches!(
        sqlite::open(&path, &FORMAT),
        Err(Error::Missing { .. })
    ));
    assert!(matches!(
        sqlite::open_read_only(&path, &FORMAT),
        Err(Error::Missing { .. })
    ));
    assert!(!path.exists());

    let path = new(&directory);
    let before = fs::read(&path).unwrap();
    let error = sqlite::create(&path, &FORMAT).unwrap_err();
    assert!(matches!(error, Error::Exists { .. }));
    assert_eq!(
        error.to_string(),
        format!("`{}` exists already", path.display())
    );
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn refuses_what_is_not_its_database() {
    let directory = tempfile::tempdir().unwrap();
    let refused = |path: &Path| sqlite::open(path, &FORMAT).unwrap_err();

    let path = directory.path().join("empty");
    fs::write(&path, "").unwrap();
    assert!(matches!(refused(&path), Error::Empty { .. }));
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);

    let path = directory.path().join("text");
    fs::write(&path, "no database at all, just some text. ".repeat(100)).unwrap();
    assert!(matches!(refused(&path), Error::NotADatabase { .. }));
    assert!(matches!(
        refused(directory.path()),
        Error::NotADatabase { .. }
    ));

    let path = directory.path().join("other");
    drop(
        sqlite::create(
            &path,
            &Format {
                application_id: 7,
                ..FORMAT
            },
        )
        .unwrap(),
    );
    let error = refused(&path);
    assert!(matches!(error, Error::WrongApplication { found: 7, .. }));
    assert_eq!(
        error.to_string(),
        format!(
            "`{}` has application id `0x00000007`, expected `0x01020304`",
            path.display()
        )
    );

    let path = directory.path().join("newer");
    drop(
        sqlite::create(
            &path,
            &Format {
                version: 4,
                ..FORMAT
            },
        )
        .unwrap(),
    );
    assert!(matches!(
        refused(&path),
        Error::WrongVersion {
            found: 4,
            expected: 3,
            ..
        }
    ));

    let path = new(&directory);
    let holder = sqlite::open(&path, &FORMAT).unwrap();
    holder
        .pragma_update(None, "locking_mode", "exclusive")
        .unwrap();
    holder
        .execute_batch("BEGIN EXCLUSIVE; INSERT INTO parent VALUES (5); COMMIT")
        .unwrap();
    drop(holder);
    let holder = rusqlite::Connection::open(&path).unwrap();
    holder
        .pragma_update(None, "journal_mode", "delete")
        .unwrap();
    holder.execute_batch("BEGIN EXCLUSIVE").unwrap();
    assert!(matches!(refused(&path), Error::Locked { .. }));
}

#[test]
fn a_creation_that_fails_leaves_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("broken.sqlite");
    let format = Format {
        schema: "CREATE TABLE",
        ..FORMAT
    };
    assert!(matches!(
        sqlite::create(&path, &format),
        Err(Error::Sqlite { .. })
    ));
    assert!(!path.exists());
    let nowhere = directory.path().join("no/such/place.sqlite");
    assert!(matches!(
        sqlite::create(&nowhere, &FORMAT),
        Err(Error::Missing { .. })
    ));
}
