//! The home of an operator whose key changes and whose journal is copied, restored and moved.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use counterfoil_enforcer::journal::{self, Before, JournalReader};
use counterfoil_enforcer::operators::Operators;
use counterfoil_enforcer::seal::Sealer;
use counterfoil_enforcer::{Enforcer, EnforcerError, Settings};
use counterfoil_protocol::keys::SigningKey;
use counterfoil_protocol::manifest::{Manifest, UnverifiedManifest, VerifiedManifest};
use counterfoil_protocol::numbers::UnixMillis;
use counterfoil_protocol::receipt::LoggedManifest;

use super::{World, key, name};

/// The home, the keys that it has had, and the manifests that list them.
pub struct Home {
    pub operator: &'static str,
    pub directory: PathBuf,
    pub keys: Vec<SigningKey>,
    pub manifests: Vec<LoggedManifest>,
}

impl Home {
    /// The home of an operator of `world`, whose journal is made with its first key.
    pub fn new(world: &World, operator: &'static str) -> Self {
        let directory = world.directory.path().join(format!("{operator}-home"));
        fs::create_dir(&directory).unwrap();
        let home = Self {
            operator,
            directory,
            keys: vec![key(operator, 2)],
            manifests: world.operators.manifests(&name(operator)),
        };
        journal::create(
            &home.journal(),
            &name(operator),
            home.key(),
            world_time(world),
        )
        .unwrap();
        home
    }

    pub fn key(&self) -> &SigningKey {
        self.keys.last().unwrap()
    }

    pub fn journal(&self) -> PathBuf {
        self.directory.join(journal::FILE_NAME)
    }

    /// The journals of all its streams, the retired ones first.
    pub fn journals(&self) -> Vec<PathBuf> {
        let retired = self.keys.iter().rev().skip(1).rev();
        retired
            .map(|key| journal::retired_path(&self.journal(), key.public().thumbprint()))
            .filter(|path| path.exists())
            .chain([self.journal()])
            .collect()
    }

    pub fn settings(&self, world: &World) -> Settings {
        let mut settings = world.settings(self.operator);
        settings.journal = self.journal();
        settings.key = copy_of(self.key());
        settings
    }

    pub fn open(&self, world: &World) -> Result<Enforcer, EnforcerError> {
        Ok(Enforcer::open(self.settings(world))?.0)
    }

    /// Opens it without saying so in the stream.
    pub fn open_unasked(&self, world: &World) -> Result<Enforcer, EnforcerError> {
        Ok(Enforcer::open_unasked(self.settings(world))?.0)
    }

    /// Rotates as `operator rotate` does: the stream ends in order if `ending` is the enforcer that
    /// works on it.
    pub fn rotate(&mut self, world: &World, ending: Option<Enforcer>) {
        let number = u8::try_from(self.keys.len()).unwrap();
        let new = key(self.operator, 10 + number);
        if let Some(enforcer) = &ending {
            enforcer.end(Some(new.public().thumbprint())).unwrap();
            Sealer::new(enforcer.clone()).unwrap().seal().unwrap();
            enforcer.close().unwrap();
        }
        let old = self.key().public().clone();
        self.list(&world.operators, world, &new);
        let retired = journal::retired_path(&self.journal(), old.thumbprint());
        fs::create_dir_all(retired.parent().unwrap()).unwrap();
        journal::settle(&self.journal()).unwrap();
        for (from, to) in journal::files(&self.journal())
            .into_iter()
            .zip(journal::files(&retired))
        {
            fs::rename(from, to).unwrap();
        }
        let before = Before {
            key: old,
            ended: ending.is_some(),
        };
        let operator = name(self.operator);
        journal::create_after(
            &self.journal(),
            &operator,
            &new,
            world_time(world),
            Some(&before),
        )
        .unwrap();
        self.keys.push(new);
    }

    fn list(&mut self, operators: &Arc<Operators>, world: &World, new: &SigningKey) {
        let root = key(self.operator, 1);
        let newest = chain(&self.manifests).pop().unwrap();
        let next = Manifest {
            version: newest.manifest().version.next().unwrap(),
            previous: Some(newest.digest()),
            enforcers: vec![new.public().clone()],
            ..newest.manifest().clone()
        };
        self.manifests.push(LoggedManifest {
            manifest: next.sign(&root),
            log_proof: None,
        });
        operators
            .add(self.manifests.clone(), &world.trust, true)
            .unwrap();
    }

    /// Copies the journal and its mark, which nobody has open.
    pub fn back_up(&self, to: &Path) {
        journal::settle(&self.journal()).unwrap();
        fs::create_dir_all(to).unwrap();
        for file in journal::files(&self.journal()) {
            fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
        }
    }

    /// Puts a copy of the journal back: as a new file, or into the file that is there.
    pub fn restore(&self, from: &Path, in_place: bool) {
        for file in journal::files(&self.journal()) {
            let copy = from.join(file.file_name().unwrap());
            if in_place {
                let mut there = File::options()
                    .write(true)
                    .truncate(true)
                    .open(&file)
                    .unwrap();
                there.write_all(&fs::read(copy).unwrap()).unwrap();
            } else {
                let beside = self.directory.join("restored");
                fs::copy(copy, &beside).unwrap();
                fs::rename(&beside, &file).unwrap();
            }
        }
    }

    /// Puts the copy of the mark back.
    pub fn restore_mark(&self, from: &Path) {
        let [_, mark] = journal::files(&self.journal());
        fs::copy(from.join(mark.file_name().unwrap()), mark).unwrap();
    }

    /// How many records it holds.
    pub fn length(&self) -> usize {
        let reader = JournalReader::open(&self.journal()).unwrap();
        reader
            .records(counterfoil_protocol::numbers::Sequence::new(0), 100_000)
            .unwrap()
            .len()
    }
}

pub fn world_time(world: &World) -> UnixMillis {
    use counterfoil_enforcer::environment::Clock as _;
    world.clock.now()
}

/// The manifests, verified against each other.
pub fn chain(parts: &[LoggedManifest]) -> Vec<VerifiedManifest> {
    let mut chain: Vec<VerifiedManifest> = Vec::new();
    for part in parts {
        let manifest = UnverifiedManifest::parse(&part.manifest).unwrap();
        chain.push(match chain.last() {
            None => manifest.verify_first(|_| true).unwrap(),
            Some(before) => manifest.verify_next(before).unwrap(),
        });
    }
    chain
}

fn copy_of(key: &SigningKey) -> SigningKey {
    SigningKey::from_pem(&key.to_pem().unwrap()).unwrap()
}
