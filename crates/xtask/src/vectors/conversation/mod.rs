//! Whole conversations of two operators: who signs and sends what when, and what must come of it.
//!
//! Nobody wrote down what comes of a step: two real enforcers are driven through it, with the time,
//! the keys and the randomness of the vector, and what they do is the vector. The scripts say only
//! what is done, and where they are about a refusal, which one it must be. Spec: conversations.

mod asked;
mod asking;
mod forging;
mod order;
mod script;
mod side;
mod talk;
mod transcript;
mod whole;

use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};

use super::Case;
use script::{Parties, Script};
use talk::Talk;
use transcript::Event;
pub use transcript::Transcript;

/// What the bytes are.
pub const OBJECT: &str = "conversation";

/// What is done in a conversation.
type Play = fn(&Parties, &mut Script) -> Result<()>;

/// A conversation: its name, the code that it is about, what it shows, and what is done.
#[derive(Clone, Copy)]
struct Scene {
    name: &'static str,
    code: Option<&'static str>,
    comment: &'static str,
    /// Whether acme has revoked the key that it had before.
    revoking: bool,
    play: Play,
}

impl Scene {
    /// One in which no check refuses anything.
    const fn good(name: &'static str, comment: &'static str, play: Play) -> Self {
        Self {
            name,
            code: None,
            comment,
            revoking: false,
            play,
        }
    }

    /// One about a refusal.
    const fn bad(
        name: &'static str,
        code: &'static str,
        comment: &'static str,
        play: Play,
    ) -> Self {
        Self {
            name,
            code: Some(code),
            comment,
            revoking: false,
            play,
        }
    }

    fn case(&self) -> Result<Case> {
        let parties = Parties::new()?;
        let mut script = Script::started(&parties, self.revoking)?;
        (self.play)(&parties, &mut script)?;
        let transcript = script.finish();
        let bytes = transcript.encode();
        ensure!(
            Transcript::parse(&bytes)? == transcript,
            "it reads otherwise"
        );
        let refusal = transcript.refusal();
        ensure!(
            refusal.map(|(_, code)| code) == self.code,
            "{refusal:?}, not {:?}",
            self.code
        );
        let case = match refusal {
            Some((step, code)) => {
                Case::failure(OBJECT, self.name, code, self.comment, bytes).with("refused-at", step)
            }
            None => Case::success(OBJECT, self.name, self.comment, bytes),
        };
        Ok(case.with("steps", transcript.steps.len()))
    }
}

/// All conversations. They are played once in a run: that takes real journals.
pub(super) fn cases() -> Result<Vec<Case>> {
    static CASES: OnceLock<Vec<Case>> = OnceLock::new();
    if let Some(cases) = CASES.get() {
        return Ok(cases.clone());
    }
    let scenes = whole::SCENES.iter().chain(order::SCENES);
    let scenes = scenes.chain(asked::SCENES).chain(asking::SCENES);
    let cases = scenes
        .map(|scene| scene.case().with_context(|| scene.name))
        .collect::<Result<Vec<_>>>()?;
    Ok(CASES.get_or_init(|| cases).clone())
}

/// Has two real enforcers do what a conversation says, and returns what they do: the same
/// conversation, or it is not what they do.
///
/// # Errors
/// When the bytes are no conversation, or a step is one that cannot be taken.
pub fn replay(bytes: &[u8]) -> Result<Transcript> {
    let wanted = Transcript::parse(bytes)?;
    let mut talk = Talk::new(wanted.trust.clone(), wanted.parties.clone())?;
    for record in &wanted.records {
        talk.place(record);
    }
    for message in &wanted.messages {
        talk.keep(message.clone());
    }
    // A message that waited is judged by itself.
    let done = wanted
        .steps
        .iter()
        .filter(|step| step.event != Event::Judges);
    for step in done {
        talk.step(step)?;
    }
    Ok(talk.finish())
}

/// What is answered to a conversation, in the words of the vectors' header: the first refusal, or
/// the first step that is not what the enforcers do.
///
/// # Errors
/// As [`replay`].
pub fn answer(bytes: &[u8]) -> Result<String> {
    let wanted = Transcript::parse(bytes)?;
    let found = replay(bytes)?;
    if let Some(step) = found.differs_from(&wanted) {
        return Ok(format!("failure code=step_differs step={step}"));
    }
    let steps = found.steps.len();
    Ok(match found.refusal() {
        Some((step, code)) => format!("failure code={code} refused-at={step} steps={steps}"),
        None => format!("success steps={steps}"),
    })
}
