//! Whole-file writes and the directory lock.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test helpers")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use counterfoil_durable::{
    Error,
    file::{self, Access},
    lock::DirectoryLock,
};

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn replaces_and_creates_with_the_asked_mode_and_no_leftovers() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    file::replace(&path, b"one", Access::Everyone).unwrap();
    assert_eq!(
        (file::read(&path).unwrap(), mode(&path)),
        (b"one".to_vec(), 0o644)
    );
    file::replace(&path, b"two", Access::Owner).unwrap();
    assert_eq!(
        (file::read_text(&path).unwrap(), mode(&path)),
        ("two".to_owned(), 0o600)
    );

    assert!(matches!(
        file::create(&path, b"three", Access::Owner),
        Err(Error::Exists { .. })
    ));
    assert_eq!(file::read(&path).unwrap(), b"two");
    file::create(&directory.path().join("b"), b"new", Access::Owner).unwrap();
    assert_eq!(mode(&directory.path().join("b")), 0o600);
    assert_eq!(names(directory.path()), ["a", "b"]);

    let path = directory.path().join("c");
    file::overwrite(&path, b"long content", Access::Owner).unwrap();
    file::overwrite(&path, b"short", Access::Owner).unwrap();
    assert_eq!(
        (file::read(&path).unwrap(), mode(&path)),
        (b"short".to_vec(), 0o600)
    );
}

#[test]
fn says_what_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("missing");
    let error = file::read(&path).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("`{}` does not exist", path.display())
    );
    let inside = path.join("file");
    let error = file::replace(&inside, b"", Access::Owner).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("`{}` does not exist", path.display())
    );
    assert!(matches!(
        file::read(directory.path()),
        Err(Error::Io { .. })
    ));
    // A directory cannot be replaced by a file, and the attempt leaves nothing behind.
    fs::create_dir(&path).unwrap();
    fs::write(&inside, "kept").unwrap();
    assert!(file::replace(&path, b"", Access::Owner).is_err());
    assert_eq!(names(directory.path()), ["missing"]);
}

#[test]
fn readers_see_the_old_content_or_the_new() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    let content = |byte: u8| vec![byte; 100_000];
    file::replace(&path, &content(0), Access::Everyone).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for byte in 1..100 {
                file::replace(&path, &content(byte), Access::Everyone).unwrap();
            }
        });
        while !writer.is_finished() {
            let seen = file::read(&path).unwrap();
            assert_eq!(seen.len(), 100_000);
            assert!(seen.iter().all(|byte| Some(byte) == seen.first()));
        }
    });
}

#[test]
fn directories_are_made_once_or_as_needed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("home");
    file::create_directory(&path).unwrap();
    assert_eq!(mode(&path), 0o700);
    assert!(matches!(
        file::create_directory(&path),
        Err(Error::Exists { .. })
    ));
    let deep = path.join("a/b/c");
    file::ensure_directory(&deep).unwrap();
    file::ensure_directory(&deep).unwrap();
    assert!(deep.is_dir());
    fs::write(path.join("file"), "").unwrap();
    assert!(file::ensure_directory(&path.join("file/inside")).is_err());
}

/// Set in the child of the test below: the directory to hold.
const CHILD: &str = "COUNTERFOIL_TEST_LOCK_CHILD";

/// Does nothing, unless started by [`a_directory_has_one_process`] as another process.
#[test]
fn lock_child() {
    let Some(path) = std::env::var_os(CHILD) else {
        return;
    };
    let _lock = DirectoryLock::acquire(Path::new(&path)).unwrap();
    std::io::stdout().write_all(b"\nheld\n").unwrap();
    // Until the parent closes the pipe or kills us.
    let _ = std::io::stdin().read(&mut [0]);
}

#[test]
fn a_directory_has_one_process() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "lock_child", "--nocapture"])
        .env(CHILD, path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map(Result::unwrap).any(|line| line == "held"));

    let error = DirectoryLock::acquire(path).unwrap_err();
    let expected = format!("`{}` is in use by process {}", path.display(), child.id());
    assert_eq!(error.to_string(), expected);

    // A killed holder holds nothing.
    child.kill().unwrap();
    child.wait().unwrap();
    let lock = DirectoryLock::acquire(path).unwrap();
    let error = DirectoryLock::acquire(path).unwrap_err();
    let expected = format!(
        "`{}` is in use by process {}",
        path.display(),
        std::process::id()
    );
    assert_eq!(error.to_string(), expected);
    drop(lock);
    DirectoryLock::acquire(path).unwrap();

    let missing = path.join("missing");
    let error = DirectoryLock::acquire(&missing).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("`{}` does not exist", missing.display())
    );
}

#[test]
fn a_secret_that_others_can_read_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    file::create(&path, b"secret", Access::Owner).unwrap();
    assert_eq!(file::read_secret(&path).unwrap(), "secret");
    for mode in [0o640, 0o604, 0o620, 0o601, 0o644] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = file::read_secret(&path).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "`{}` is open to others (mode `{mode:o}`); it must be `600`",
                path.display()
            )
        );
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    assert_eq!(file::read_secret(&path).unwrap(), "secret");
    let missing = file::read_secret(&directory.path().join("none"));
    assert!(matches!(missing, Err(Error::Missing { .. })));
}

#[test]
fn only_temporary_files_are_swept() {
    let directory = tempfile::tempdir().unwrap();
    let kept = [
        "a",
        "a.tmp",
        "a.1.tmp",
        "a.x.1.tmp",
        "1.2.tmp",
        "a.1.2.tmp.x",
    ];
    for name in kept.iter().chain(&["a.1.2.tmp", "000.p.33.0.tmp"]) {
        fs::write(directory.path().join(name), "x").unwrap();
    }
    fs::create_dir(directory.path().join("b.1.2.tmp")).unwrap();
    file::remove_temporary(directory.path()).unwrap();
    let mut left: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    let mut expected = kept.to_vec();
    expected.push("b.1.2.tmp");
    expected.sort_unstable();
    assert_eq!(left, expected);
    file::remove_temporary(&directory.path().join("none")).unwrap();
}
