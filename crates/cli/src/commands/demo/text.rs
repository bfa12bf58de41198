//! What the demo prints for people.

use comfy_table::{ContentArrangement, Table};

use super::report::Report;

/// Characters in a line of text.
const WIDTH: usize = 96;

impl Report<'_> {
    pub(super) fn text(&self, problems: &[String]) -> String {
        let mut text = self.session();
        for part in [
            self.contract.text(),
            self.witnessed.text(),
            self.reconciliation.text(),
            self.redaction.text(),
            self.dispute.text(),
        ] {
            text.push_str(&wrapped(&part));
            text.push('\n');
        }
        text.push_str(&self.next());
        for problem in problems {
            text.push_str(&format!("WRONG {problem}\n"));
        }
        text.push_str(&format!(
            "{} {} calls, {} receipts, {:.1} seconds\n",
            if problems.is_empty() {
                "PASSED"
            } else {
                "FAILED"
            },
            self.lines.len(),
            self.receipts.files,
            self.seconds
        ));
        text
    }

    /// The calls, and what both sides hold of them.
    fn session(&self) -> String {
        let mut table = Table::new();
        table
            .load_style(comfy_table::presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header([
                "",
                "the agent asks",
                "what became of it",
                "it took",
                "acme's receipt",
                "globex's",
            ]);
        for line in self.lines {
            table.add_row(line.cells());
        }
        let local = self.lines.iter().filter(|line| line.call.local).count();
        let killed = self.killed.map_or_else(String::new, |name| {
            format!("In the middle of its session {name} was killed (kill -9) and started again.\n")
        });
        format!(
            "An agent of acme.example calls a support desk, {local} times its own over stdio, then \
             that of\nglobex.example over HTTP. Each operator decides with its own policy before \
             anything runs.\n{killed}\n{table}\n\n\
             The tool of globex was reached {} times; what was refused never reached it.\n\
             Acme holds globex's receipts and globex holds acme's: {} of {} files verified, with \
             nothing but\nthe trust file, up to the level `witnessed`: two witnesses cosigned the \
             log.\n\
             A receipt shows who stated what, and when, and that nobody can take it back. It does \
             not show\nthat the statement is true.\n\n",
            self.did.len(),
            self.receipts.verified,
            self.receipts.files,
        )
    }

    /// The commands, and where to look further.
    fn next(&self) -> String {
        let commands: String = self
            .commands
            .iter()
            .map(|line| format!("  {}\n", shortened(line)))
            .collect();
        let mut text = format!("The commands, to be copied:\n\n{commands}\n");
        if !self.kept {
            text.push_str("next:\n  counterfoil demo --dir demo    # and look around in it\n\n");
            return text;
        }
        let dir = self.directory.display();
        text.push_str(&format!(
            "Everything lies in {dir}:\n  \
             acme, globex   the homes of the operators: keys, policy, journal\n  \
             log, w1, w2    the log and its witnesses\n  \
             trust          whom everybody believes\n  \
             receipts       the receipts\n  \
             *.contract     the contract, with the receipts of who agreed\n  \
             *.evidence     both halves\n  \
             arbiter        all that the third party has\n  \
             *.txt          what the processes wrote, and what the tools did\n\n\
             next:\n  cd {dir}\n  counterfoil verify \
             receipts/globex-from-globex/globex.example-000002.receipt --trust trust\n  \
             counterfoil verify redacted.receipt --trust trust\n  \
             counterfoil fault verify arbiter/*denied.fault --trust arbiter/trust\n  \
             counterfoil journal list --home acme\n\n"
        ));
        text
    }
}

/// The same text in lines of readable length. Lines that are indented stay as they are.
fn wrapped(text: &str) -> String {
    let mut wrapped = String::new();
    for line in text.lines() {
        if line.starts_with(' ') {
            wrapped.push_str(&format!("{line}\n"));
            continue;
        }
        let mut length = 0;
        for word in line.split(' ') {
            let word_length = word.chars().count();
            if length > 0 && length + 1 + word_length > WIDTH {
                wrapped.push('\n');
                length = 0;
            } else if length > 0 {
                wrapped.push(' ');
                length += 1;
            }
            wrapped.push_str(word);
            length += word_length;
        }
        wrapped.push('\n');
    }
    wrapped
}

/// A command line without the long list of files that it was given.
fn shortened(line: &str) -> String {
    let mut shown = String::new();
    let mut folder_shown = None;
    for word in line.split(' ') {
        if let Some((folder, _)) = word
            .strip_suffix(".receipt")
            .and_then(|path| path.rsplit_once('/'))
            .filter(|_| line.starts_with("counterfoil verify "))
        {
            if folder_shown.is_none() {
                shown.push_str(&format!(" {folder}/*.receipt"));
            }
            folder_shown = Some(folder);
            continue;
        }
        if !shown.is_empty() {
            shown.push(' ');
        }
        shown.push_str(word);
    }
    shown
}
