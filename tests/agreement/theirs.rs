//! The verifier in Python, as a process that answers cases.

use std::io::{BufReader, BufWriter, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::cases::{Case, folder};

/// A running verifier.
pub(crate) struct Theirs {
    process: Child,
    cases: Option<BufWriter<ChildStdin>>,
    answers: BufReader<ChildStdout>,
}

impl Theirs {
    pub(crate) fn start() -> Self {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/second-verifier/serve.py");
        let mut process = Command::new(python())
            .arg("-B")
            .arg(program)
            .arg(folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            cases: process.stdin.take().map(BufWriter::new),
            answers: process.stdout.take().map(BufReader::new).unwrap(),
            process,
        }
    }

    /// Asks about some cases. So many that their answers fit a pipe: nobody reads them yet.
    pub(crate) fn ask(&mut self, cases: &[Case]) {
        let out = self.cases.as_mut().unwrap();
        for case in cases {
            let file = case.file();
            let length = u32::try_from(file.len()).unwrap();
            out.write_all(&length.to_be_bytes()).unwrap();
            out.write_all(&file).unwrap();
        }
        out.flush().unwrap();
    }

    /// The next answer.
    pub(crate) fn answer(&mut self) -> String {
        let mut length = [0; 4];
        self.answers.read_exact(&mut length).unwrap();
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        self.answers.read_exact(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        // Without input it ends.
        self.cases = None;
        let _ended = self.process.wait();
    }
}

/// The Python that `cargo xtask setup` installs what is needed for.
fn python() -> PathBuf {
    if let Some(python) = std::env::var_os("COUNTERFOIL_PYTHON") {
        return python.into();
    }
    let tests = std::env::current_exe().unwrap();
    let target = tests.ancestors().nth(3).unwrap();
    let python = target.join("third-party/venv/bin/python");
    assert!(
        python.exists(),
        "{} is missing: run `cargo xtask setup`",
        python.display()
    );
    python
}
