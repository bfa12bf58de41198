//! Every write of a step fails once, with and without having happened; then the log is loaded
//! again, goes on, and all of it is checked.

use std::{
    cell::Cell,
    path::{Path, PathBuf},
    rc::Rc,
};

use counterfoil_protocol::{
    digest::{CommitmentDigest, KeyThumbprint},
    keys::SigningKey,
    manifest::Manifest,
    names::OperatorName,
    numbers::ManifestVersion,
};
use counterfoil_tlog::note::Note;
use zeroize::Zeroizing;

use super::*;
use crate::{
    InitOptions, database::SqliteLock, fsck, init, init::read_key, lock::CheckpointLock,
    store::FileStore,
};

/// Which write fails, counted over store and lock, and whether it happens all the same.
#[derive(Clone, Debug)]
struct Fault {
    left: Rc<Cell<usize>>,
    happens: bool,
}

impl Fault {
    fn at(number: usize, happens: bool) -> Self {
        Self {
            left: Rc::new(Cell::new(number)),
            happens,
        }
    }

    fn never() -> Self {
        Self::at(usize::MAX, false)
    }

    fn around(&self, write: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
        let left = self.left.get();
        self.left.set(left.wrapping_sub(1));
        if left != 0 {
            return write();
        }
        if self.happens {
            write()?;
        }
        Err(Error::System("told to fail".to_owned()))
    }
}

struct FaultyStore(FileStore, Fault);

impl BlobStore for FaultyStore {
    fn put(&self, blobs: &[Blob]) -> Result<(), Error> {
        // One by one, so that any part of them may be there when it fails.
        blobs
            .iter()
            .try_for_each(|blob| self.1.around(|| self.0.put(std::slice::from_ref(blob))))
    }

    fn get(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        self.0.get(path)
    }

    fn stage(&self, content: &[u8]) -> Result<(), Error> {
        self.1.around(|| self.0.stage(content))
    }

    fn staged(&self) -> Result<Option<Vec<u8>>, Error> {
        self.0.staged()
    }

    fn settle(&self, paths: &[String]) -> Result<(), Error> {
        self.1.around(|| self.0.settle(paths))
    }

    fn remove_partials(&self, full_path: &str) {
        self.0.remove_partials(full_path);
    }
}

struct FaultyLock(SqliteLock, Fault);

impl CheckpointLock for FaultyLock {
    fn load(&self) -> Result<Note, Error> {
        self.0.load()
    }

    fn swap(&mut self, expected: TreeHead, next: &Swap) -> Result<(), Error> {
        let Self(lock, fault) = self;
        fault.around(|| lock.swap(expected, next))
    }
}

fn allowed() -> Result<(), Error> {
    Ok(())
}

fn load(home: &Path, fault: &Fault) -> Result<Sequencer<FaultyStore, FaultyLock>, Error> {
    let store = FaultyStore(FileStore::new(home), fault.clone());
    let lock = FaultyLock(SqliteLock::open(home)?, fault.clone());
    Sequencer::load(store, lock, read_key(home)?)
}

/// A log that has one operator, and the step sizes to put it through.
struct Log {
    _directory: tempfile::TempDir,
    home: PathBuf,
    key: KeyThumbprint,
}

impl Log {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("log");
        let options = InitOptions {
            origin: "log.example".to_owned(),
            listen: String::new(),
            witness_policy: None,
        };
        init(&home, &options).unwrap();
        let root = SigningKey::from_seed(&Zeroizing::new([1; 32])).unwrap();
        let enforcer = SigningKey::from_seed(&Zeroizing::new([2; 32])).unwrap();
        let manifest = Manifest {
            operator: OperatorName::new("acme.example").unwrap(),
            version: ManifestVersion::new(1),
            previous: None,
            time: UnixMillis::new(0),
            roots: vec![root.public().clone()],
            enforcers: vec![enforcer.public().clone()],
            exchange: None,
            revoked: Vec::new(),
        };
        let content = manifest.sign(&root);
        let entry = AdmittedEntry {
            leaf: leaf_hash(&content),
            effect: Effect::Manifest {
                operator: manifest.operator,
                version: 1,
                content: content.clone(),
                enforcers: vec![enforcer.public().thumbprint()],
            },
            content,
        };
        let mut sequencer = load(&home, &Fault::never()).unwrap();
        sequencer
            .sequence(vec![entry], UnixMillis::new(0), allowed)
            .unwrap();
        Self {
            _directory: directory,
            home,
            key: enforcer.public().thumbprint(),
        }
    }

    /// Entries that come after `size`, as many as wanted. Entry `n` is always the same.
    fn entries(&self, size: u64, count: u64) -> Vec<AdmittedEntry> {
        (size..size + count)
            .map(|index| {
                let content = format!("entry {index}").into_bytes();
                let effect = Effect::Batch {
                    stream: self.key,
                    batch: index - 1,
                    first: (index - 1) * 2,
                    count: 2,
                    digest: CommitmentDigest::of(&content),
                };
                AdmittedEntry {
                    leaf: leaf_hash(&content),
                    content,
                    effect,
                }
            })
            .collect()
    }

    fn grow_to(&self, size: u64) {
        let mut sequencer = load(&self.home, &Fault::never()).unwrap();
        let at = sequencer.current().head.size;
        if at < size {
            sequencer
                .sequence(self.entries(at, size - at), UnixMillis::new(1), allowed)
                .unwrap();
        }
    }
}

/// Number of writes a step makes.
fn writes(from: u64, to: u64) -> usize {
    2 + new_bundles(from, to).count() + new_tiles(from, to).count()
}

#[test]
fn any_write_may_fail_before_or_after_it_happened() {
    // Within a bundle, filling it exactly, from a full one on, over it, two at once.
    for (from, to) in [(1, 2), (200, 256), (256, 257), (250, 300), (255, 770)] {
        for happens in [false, true] {
            for number in 0..writes(from, to) {
                let case = format!("{from} to {to}, write {number}, happens: {happens}");
                let log = Log::new();
                log.grow_to(from);
                // Armed after loading, which writes too.
                let fault = Fault::at(usize::MAX, happens);
                let mut sequencer = load(&log.home, &fault).unwrap();
                fault.left.set(number);
                let step = log.entries(from, to - from);
                let failed = sequencer.sequence(step, UnixMillis::new(2), allowed);
                assert!(matches!(failed, Err(Error::System(_))), "{case}");
                drop(sequencer);

                // Staged: nothing has happened. Swapped: all of it has, once it is loaded.
                let committed = number > 1 || (number == 1 && happens);
                let reloaded = load(&log.home, &Fault::never()).unwrap();
                let size = reloaded.current().head.size;
                assert_eq!(size, if committed { to } else { from }, "{case}");
                drop(reloaded);
                assert_eq!(fsck(&log.home).unwrap().size, size, "{case}");
                // It goes on, with the same entries if they were not taken.
                log.grow_to(to + 3);
                assert_eq!(fsck(&log.home).unwrap().size, to + 3, "{case}");
            }
        }
    }
}

#[test]
fn recovery_itself_may_fail_at_any_write() {
    let (from, to) = (250, 300);
    for happens in [false, true] {
        // Fail right after the swap, then at every write of the recovery, several times over.
        let log = Log::new();
        log.grow_to(from);
        let fault = Fault::at(usize::MAX, true);
        let mut sequencer = load(&log.home, &fault).unwrap();
        fault.left.set(1);
        assert!(
            sequencer
                .sequence(log.entries(from, to - from), UnixMillis::new(2), allowed)
                .is_err()
        );
        drop(sequencer);
        let puts = writes(from, to) - 2;
        for number in 0..puts {
            let failed = load(&log.home, &Fault::at(number, happens));
            assert!(matches!(failed, Err(Error::System(_))), "write {number}");
        }
        // The names are made durable last. If the last put has happened, that is all there is left.
        let settle = if happens { 0 } else { puts };
        let failed = load(&log.home, &Fault::at(settle, happens));
        assert!(matches!(failed, Err(Error::System(_))), "settling");
        assert_eq!(
            load(&log.home, &Fault::never())
                .unwrap()
                .current()
                .head
                .size,
            to
        );
        assert_eq!(fsck(&log.home).unwrap().size, to);
    }
}

#[test]
fn the_root_does_not_depend_on_the_steps() {
    let roots: Vec<Hash> = [
        vec![600],
        vec![2, 3, 255, 256, 257, 512, 600],
        vec![256, 512, 600],
    ]
    .into_iter()
    .map(|steps| {
        let log = Log::new();
        steps.into_iter().for_each(|size| log.grow_to(size));
        fsck(&log.home).unwrap().root
    })
    .collect();
    assert!(roots.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_lock_that_moved_is_noticed() {
    let log = Log::new();
    let mut first = load(&log.home, &Fault::never()).unwrap();
    let mut second = load(&log.home, &Fault::never()).unwrap();
    first
        .sequence(log.entries(1, 1), UnixMillis::new(2), allowed)
        .unwrap();
    let moved = second.sequence(log.entries(1, 2), UnixMillis::new(2), allowed);
    assert!(matches!(moved, Err(Error::LockMoved { expected: 1 })));
    drop((first, second));
    // What the second staged is of a step that never happened.
    assert_eq!(
        load(&log.home, &Fault::never())
            .unwrap()
            .current()
            .head
            .size,
        2
    );
    assert_eq!(fsck(&log.home).unwrap().size, 2);
}

#[test]
fn a_batch_without_a_place_is_not_logged() {
    let log = Log::new();
    for wrong in [
        log.entries(2, 1),
        log.entries(1, 2).into_iter().rev().collect(),
    ] {
        let mut sequencer = load(&log.home, &Fault::never()).unwrap();
        assert!(matches!(
            sequencer.sequence(wrong, UnixMillis::new(2), allowed),
            Err(Error::Damaged(_))
        ));
        drop(sequencer);
        assert_eq!(fsck(&log.home).unwrap().size, 1);
    }
    // Nor is one twice.
    let mut sequencer = load(&log.home, &Fault::never()).unwrap();
    let twice = [log.entries(1, 1), log.entries(1, 1)].concat();
    assert!(matches!(
        sequencer.sequence(twice, UnixMillis::new(2), allowed),
        Err(Error::Database(_))
    ));
}

#[test]
fn a_fork_found_during_a_step_leaves_it_unsigned() {
    let log = Log::new();
    log.grow_to(3);
    let mut sequencer = load(&log.home, &Fault::never()).unwrap();
    let before = SqliteLock::open(&log.home).unwrap().load().unwrap();
    let refused = sequencer.sequence(log.entries(3, 2), UnixMillis::new(2), || {
        Err(Error::ForkSuspected("told so".to_owned()))
    });
    assert!(matches!(refused, Err(Error::ForkSuspected(_))));
    assert_eq!(sequencer.current().head.size, 3);
    drop(sequencer);
    // The step was staged in full, and the next start does not take it for signed.
    let mut sequencer = load(&log.home, &Fault::never()).unwrap();
    assert_eq!(sequencer.current().note, before);
    assert_eq!(fsck(&log.home).unwrap().size, 3);
    sequencer
        .sequence(log.entries(3, 2), UnixMillis::new(3), allowed)
        .unwrap();
    assert_eq!(fsck(&log.home).unwrap().size, 5);
}

#[test]
fn a_start_leaves_good_tiles_alone_and_sweeps_what_a_crash_left() {
    let log = Log::new();
    log.grow_to(250);
    log.grow_to(300);
    let tiles = log.home.join("tiles");
    let left = [
        tiles.join("checkpoint.77.0.tmp"),
        tiles.join("tile/0/000.77.1.tmp"),
        tiles.join("tile/entries/001.p/44.77.2.tmp"),
    ];
    for path in &left {
        std::fs::write(path, "half").unwrap();
    }
    // Partial versions of tiles that are full by now, as if it had ended before removing them.
    let partial = tiles.join("tile/0/000.p");
    std::fs::create_dir(&partial).unwrap();
    std::fs::write(partial.join("250"), "old").unwrap();
    let times = || {
        ["tile/0/000", "tile/entries/001.p/44", "tile/1/000.p/1"].map(|path| {
            std::fs::metadata(tiles.join(path))
                .unwrap()
                .modified()
                .unwrap()
        })
    };
    let before = times();
    // Making the names durable is the only write.
    assert!(load(&log.home, &Fault::at(0, false)).is_err());
    load(&log.home, &Fault::at(1, false)).unwrap();
    assert_eq!(times(), before);
    for path in left.iter().chain([&partial]) {
        assert!(!path.exists(), "{}", path.display());
    }
    assert_eq!(fsck(&log.home).unwrap().size, 300);
}
