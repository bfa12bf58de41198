//! What the README and the help texts say is what the binary does.

use std::fs;

use crate::binaries::{command, good, source};

/// The command lines in a text: lines that begin with `counterfoil`, with those that go on after a
/// backslash.
fn command_lines(text: &str) -> Vec<Vec<String>> {
    let joined = text.replace("\\\n", " ");
    joined
        .lines()
        .filter_map(|line| line.trim().strip_prefix("counterfoil "))
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect()
}

/// Every word of a command line that names a command or an option is known.
fn is_real(words: &[String]) {
    let here = std::env::temp_dir();
    let mut path: Vec<&str> = Vec::new();
    let mut help = help(&here, &path);
    for word in words {
        if !help.contains(&format!("\n  {word} ")) && !help.contains(&format!("\n  {word}\n")) {
            break;
        }
        path.push(word);
        help = self::help(&here, &path);
    }
    assert!(!path.is_empty(), "counterfoil {}", words.join(" "));
    let own = words.iter().take_while(|word| *word != "--");
    for option in own.filter(|word| word.starts_with("--")) {
        assert!(
            help.contains(option.as_str()),
            "counterfoil {path:?} has no {option}"
        );
    }
}

fn help(directory: &std::path::Path, path: &[&str]) -> String {
    let output = command(directory, path).arg("--help").output().unwrap();
    assert!(output.status.success(), "{path:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_commands_of_the_readme_are_real() {
    let readme = fs::read_to_string(source("../README.md")).unwrap();
    let lines = command_lines(&readme);
    assert!(lines.len() > 10);
    for line in lines {
        is_real(&line);
    }
}

#[test]
fn the_examples_of_the_help_are_real() {
    let here = std::env::temp_dir();
    let mut seen = 0;
    let mut waiting: Vec<Vec<String>> = vec![Vec::new()];
    while let Some(path) = waiting.pop() {
        let words: Vec<&str> = path.iter().map(String::as_str).collect();
        let help = help(&here, &words);
        for line in command_lines(&help) {
            is_real(&line);
            seen += 1;
        }
        if let Some((_, commands)) = help.split_once("Commands:\n") {
            for line in commands.lines().take_while(|line| line.starts_with("  ")) {
                let name = line.split_whitespace().next().unwrap();
                if name != "help" && line.starts_with("  ") && !line.starts_with("   ") {
                    waiting.push([path.clone(), vec![name.to_owned()]].concat());
                }
            }
        }
    }
    assert!(seen > 20, "{seen} examples");
}

#[test]
fn the_demo_prints_commands_that_are_real() {
    let directory = tempfile::tempdir().unwrap();
    let report = good(directory.path(), &["demo"]);
    for line in report["commands"].as_array().unwrap() {
        if let Some(words) = line.as_str().unwrap().strip_prefix("counterfoil ") {
            let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
            is_real(&words);
        }
    }
    assert_eq!(report["dir"], serde_json::Value::Null);
}

#[test]
fn shells_can_complete() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = command(&std::env::temp_dir(), &["completions", shell])
            .output()
            .unwrap();
        assert!(output.status.success());
        assert!(
            String::from_utf8(output.stdout)
                .unwrap()
                .contains("witness"),
            "{shell}"
        );
    }
}
