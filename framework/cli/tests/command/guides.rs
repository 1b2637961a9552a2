//! The guides in `docs/guides`, run as their readers would: files are written, commands are typed, and what they
//! print is compared. `docs/guides/README.md` says how a block is marked.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mobillm_bundle::fixture::TinyBert;
use mobillm_pull::{Cache, catalogue, pull};
use tempfile::TempDir;

/// The folder of the sources.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

#[test]
fn a_stage_is_swapped() {
    Reader::new().follow("swap-a-stage");
}

#[test]
fn a_variant_is_compared() {
    Reader::new().follow("compare-a-variant");
}

#[test]
fn an_editor_has_the_schema() {
    Reader::new().follow("editor");
}

#[test]
fn an_assembly_is_kept() {
    Reader::new().follow("snapshot");
}

#[cfg_attr(not(target_os = "linux"), ignore = "libraries have other names there")]
#[test]
fn a_quantizer_is_written() {
    Reader::new().follow("quantizer");
}

#[test]
fn every_guide_is_run() {
    let mut guides = super::setup::names(&Path::new(ROOT).join("docs/guides"));
    guides.sort();
    let here = ["compare-a-variant", "editor", "quantizer", "snapshot", "swap-a-stage"];
    // Their programs are doc-tests of the crate of the snapshots.
    let elsewhere = ["README", "embed", "transport"];
    let mut known: Vec<String> =
        here.iter().chain(&elsewhere).map(|name| format!("{name}.md")).collect();
    known.sort();
    assert_eq!(guides, known);
    for guide in elsewhere {
        let is_run = |block: &Block| block.language == "console" || block.mark("file").is_some();
        assert!(!blocks(guide).iter().any(is_run), "{guide} has something to run");
    }
}

#[test]
fn a_line_is_compared_but_for_its_dots() {
    for (expected, line) in [
        ("as it is", "as it is"),
        ("...", ""),
        ("begins ...", "begins like this"),
        ("... ends", "it ends"),
        ("a ... b ... c", "a 1 b 2 c"),
        ("... 12 bytes ...", "│ 12 bytes │"),
        ("  moved ... right", "  moved to the right"),
    ] {
        assert!(fits(expected, line), "{expected:?} {line:?}");
    }
    for (expected, line) in [
        ("as it is", "as it was"),
        ("begins ...", "so it begins"),
        ("a ... b", "b a"),
        ("aa...aa", "aaa"),
    ] {
        assert!(!fits(expected, line), "{expected:?} {line:?}");
    }
    let lines = |text: &'static str| text.lines().collect::<Vec<_>>();
    assert!(all_fit(&lines("a\n...\nd"), &lines("a\nb\nc\nd")));
    assert!(all_fit(&lines("..."), &[]));
    assert!(!all_fit(&lines("a\n...\nd"), &lines("a\nb\nc")));
    assert!(!all_fit(&[], &lines("a")));
}

/// Somebody with `mobillm` on the path, the sources, and what the quickstart has fetched: the model is a tiny one
/// with random weights.
struct Reader {
    folder: TempDir,
    onnx_runtime: PathBuf,
}

impl Reader {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let onnx_runtime = pull(&Cache::user().unwrap(), "onnxruntime", &mut |_| {}).unwrap();
        symlink(Path::new(ROOT).join("examples"), folder.path().join("examples")).unwrap();
        let cache = folder.path().join("cache");
        TinyBert::default().bundle(&cache.join("bundles/all-minilm-l6-v2")).unwrap();
        let spam = catalogue().iter().find(|item| item.name == "sms-spam").unwrap();
        let data = cache.join(format!("data/{}-{}", spam.name, spam.version));
        fs::create_dir_all(&data).unwrap();
        fs::write(data.join("sms-spam.tsv"), messages()).unwrap();
        Self { folder, onnx_runtime }
    }

    fn follow(&self, guide: &str) {
        for block in blocks(guide) {
            let place = format!("docs/guides/{guide}.md:{}", block.line);
            if let Some(file) = block.mark("file") {
                let path = self.folder.path().join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, &block.text).unwrap();
            } else if let Some(file) = block.mark("excerpt") {
                let whole = fs::read_to_string(Path::new(ROOT).join(file)).unwrap();
                assert!(whole.contains(&block.text), "{place}: this does not stand in {file}");
            } else if block.language == "console" {
                self.type_in(&block, &place);
            } else {
                assert_eq!(block.language, "text", "{place}: nobody tries this block");
            }
        }
    }

    /// Runs the commands of `block` and compares what they print, on stdout and stderr together.
    fn type_in(&self, block: &Block, place: &str) {
        let text = format!("\n{}", block.text);
        let mut commands = text.split("\n$ ");
        assert_eq!(commands.next(), Some(""), "{place}: a block begins with a command");
        let commands: Vec<&str> = commands.collect();
        for (at, command) in commands.iter().enumerate() {
            let (command, expected) = command.split_once('\n').unwrap_or((command, ""));
            let output = self.shell(command);
            let printed = String::from_utf8(output.stdout).unwrap();
            let told = format!("{place}: $ {command}\n{printed}");
            let last = at + 1 == commands.len();
            let code = block.mark("exit").filter(|_| last).map_or(0, |code| code.parse().unwrap());
            assert_eq!(output.status.code(), Some(code), "{told}");
            let (expected, printed): (Vec<_>, Vec<_>) =
                (expected.lines().collect(), printed.lines().map(str::trim_end).collect());
            assert!(all_fit(&expected, &printed), "{told}\nexpected: {}", expected.join("\n"));
        }
    }

    fn shell(&self, command: &str) -> std::process::Output {
        let program = Path::new(env!("CARGO_BIN_EXE_mobillm"));
        let mut path = program.parent().unwrap().as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap());
        Command::new("sh")
            .args(["-c", &format!("exec 2>&1; {command}")])
            .current_dir(self.folder.path())
            .env("PATH", path)
            .env("MOBILLM_SOURCES", fs::canonicalize(ROOT).unwrap())
            .env("MOBILLM_CACHE", self.folder.path().join("cache"))
            .env("ORT_DYLIB_PATH", &self.onnx_runtime)
            // What the workspace was built with is there.
            .env("CARGO_NET_OFFLINE", "true")
            .env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("guides"))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

/// Messages of known words, in the shape of the SMS Spam Collection.
fn messages() -> String {
    let words = ["a", "b", "the", "tap", "layer", "gets", "out", "early"];
    let message = |row: usize| {
        let label = ["ham", "spam"][row % 2];
        let word = |at: usize| words[(row * 7 + at * (row / 8 + 3)) % words.len()];
        let text: Vec<&str> = (0..2 + row % 4).map(word).collect();
        format!("{label}\t{} {row} {}\n", ["good", "bad"][row % 2], text.join(" "))
    };
    (0..60).map(message).collect()
}

/// A fenced block of a guide.
struct Block {
    language: String,
    marks: Vec<String>,
    text: String,
    /// Where it begins.
    line: usize,
}

impl Block {
    /// What stands behind `name=` in the block's first line.
    fn mark(&self, name: &str) -> Option<&str> {
        self.marks.iter().find_map(|mark| mark.strip_prefix(name)?.strip_prefix('='))
    }
}

fn blocks(guide: &str) -> Vec<Block> {
    let path = Path::new(ROOT).join(format!("docs/guides/{guide}.md"));
    let text = fs::read_to_string(path).unwrap();
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let Some(first) = line.strip_prefix("```") else { continue };
        let mut words = first.split([' ', ',']).map(str::to_owned);
        let inner = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
        let text: String = inner.map(|line| format!("{line}\n")).collect();
        let language = words.next().unwrap_or_default();
        blocks.push(Block { language, marks: words.collect(), text, line: at + 1 });
    }
    blocks
}

/// Whether `lines` are the expected ones, `...` alone standing for any.
fn all_fit(expected: &[&str], lines: &[&str]) -> bool {
    match (expected, lines) {
        ([], []) => true,
        (["...", rest @ ..], _) => {
            (0..=lines.len()).any(|skipped| all_fit(rest, &lines[skipped..]))
        }
        ([first, expected @ ..], [line, lines @ ..]) => {
            fits(first, line) && all_fit(expected, lines)
        }
        _ => false,
    }
}

/// Whether `line` is the expected one, each `...` standing for anything.
fn fits(expected: &str, line: &str) -> bool {
    let pieces: Vec<&str> = expected.split("...").collect();
    let [first, between @ .., last] = pieces.as_slice() else { return expected == line };
    let Some(mut rest) = line.strip_prefix(first.trim_end()) else { return false };
    for piece in between {
        match rest.split_once(piece.trim()) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last.trim_start())
}
