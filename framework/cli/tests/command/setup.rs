//! A folder with a tiny bundle, a toy task and a config, and the command running in it.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use mobillm_bundle::fixture::TinyBert;
use mobillm_pull::{Cache, pull};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take on a slow and busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

const CONFIG: &str = r#"
schema = 1
[task]
name = "toy"
train = "toy.tsv"
columns = { text = "text", label = "mood" }
labels = ["sad", "happy"]
positive = "happy"
[device]
bundle = "bundle"
micro_batch = 5
window = 3
backbone = { type = "onnxruntime", threads = 1 }
[link]
ahead = 4
[server]
checkpoint_steps = 5
side_network = { type = "candle", architecture = { type = "parallel-adapter", rank = 8 } }
[training]
epochs = 4
batch = 4
optimizer = { learning_rate = 0.03 }
"#;

/// Steps of an epoch of that config: 48 of 60 rows are trained on.
pub const STEPS: usize = 12;

/// A folder with everything that a run needs.
pub struct Setup {
    folder: TempDir,
}

impl Setup {
    /// `toy.toml`, `toy.tsv` and `bundle`.
    pub fn new() -> Self {
        static ONNX_RUNTIME: OnceLock<()> = OnceLock::new();
        ONNX_RUNTIME.get_or_init(|| {
            pull(&Cache::user().unwrap(), "onnxruntime", &mut |_| {}).unwrap();
        });
        let setup = Self { folder: tempfile::tempdir().unwrap() };
        TinyBert::default().bundle(&setup.path("bundle")).unwrap();
        setup.write("toy.tsv", toy_rows(60));
        setup.write("toy.toml", CONFIG);
        setup
    }

    /// With a run in `run` that has learnt its task.
    pub fn trained() -> Self {
        let setup = Self::new();
        setup.learns(&[]);
        setup
    }

    /// Trains until the task is learnt, in `run`.
    pub fn learns(&self, sets: &[&str]) {
        let more = ["training.epochs=20", "device.quantizer={type=\"int8\"}"];
        let sets = sets.iter().chain(&more).flat_map(|set| ["--set", set]);
        let run = ["run", "toy.toml", "--out", "run", "--set", "server.checkpoint_steps=1000"];
        self.succeeds(&run.into_iter().chain(sets).collect::<Vec<_>>());
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    /// `mobillm` with `arguments`, in the folder.
    pub fn command(&self, arguments: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mobillm"));
        self.at_home(&mut command).args(arguments);
        command
    }

    /// `command` in the folder, with nothing on stdin.
    pub fn at_home<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.current_dir(self.folder.path()).env_remove("ORT_DYLIB_PATH").stdin(Stdio::null())
    }

    /// Runs `mobillm` to its end, whatever that is.
    pub fn output(&self, arguments: &[impl AsRef<OsStr>]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What `mobillm` writes to stdout; it must succeed.
    #[track_caller]
    pub fn succeeds(&self, arguments: &[impl AsRef<OsStr>]) -> String {
        succeeded(&self.output(arguments))
    }

    /// What it writes to stdout, as JSON; it must succeed.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.succeeds(arguments)).unwrap()
    }

    /// What `mobillm` writes to stderr; it must fail with `code`, in words, and say nothing on
    /// stdout.
    #[track_caller]
    pub fn fails(&self, code: i32, arguments: &[&str]) -> String {
        failed(code, &self.output(arguments))
    }

    pub fn adapter(&self, out: &str) -> Vec<u8> {
        fs::read(self.path(out).join("adapter.safetensors")).unwrap()
    }
}

#[track_caller]
pub fn succeeded(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
pub fn failed(code: i32, output: &Output) -> String {
    let errors = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{errors}");
    assert!(errors.contains("error: ") && !errors.contains("panicked"), "{errors}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    errors
}

/// Texts of known words; "good" makes one happy, "bad" sad.
fn toy_rows(rows: usize) -> String {
    let words = ["a", "b", "the", "tap", "layer", "gets", "out", "early"];
    let mut data = String::from("text\tmood\n");
    for row in 0..rows {
        let mood = row % 2;
        let mut text: Vec<&str> = (0..1 + row % 5)
            .map(|at| words[(row * 7 + at * (row / 8 + 3)) % words.len()])
            .collect();
        text.insert(row % text.len(), ["bad", "good"][mood]);
        // A number makes every text a distinct one; the tokenizer does not know it.
        writeln!(data, "{} {row}\t{}", text.join(" "), ["sad", "happy"][mood]).unwrap();
    }
    data
}

/// The names in a folder.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// A file of one JSON value a line.
pub fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Asserts that every file of a run folder is whole.
#[track_caller]
pub fn assert_whole(folder: &Path) {
    for name in names(folder) {
        let path = folder.join(&name);
        match path.extension().and_then(|extension| extension.to_str()) {
            _ if path.is_dir() => assert_whole(&path),
            Some("json") => {
                let value = serde_json::from_slice::<Value>(&fs::read(&path).unwrap());
                assert!(value.is_ok(), "{}: {value:?}", path.display());
            }
            Some("safetensors") => {
                let bytes = fs::read(&path).unwrap();
                let tensors = safetensors::SafeTensors::deserialize(&bytes);
                assert!(tensors.is_ok(), "{}: {tensors:?}", path.display());
            }
            _ => {}
        }
    }
}

/// Asserts that a run folder is whole and holds nothing temporary.
#[track_caller]
pub fn assert_tidy(folder: &Path) {
    assert_whole(folder);
    let folders = [folder.to_owned(), folder.join("server")];
    for folder in folders.iter().filter(|folder| folder.exists()) {
        let hidden = names(folder).into_iter().filter(|name| name.starts_with('.'));
        assert_eq!(hidden.collect::<Vec<_>>(), [".lock"], "in {}", folder.display());
        let checkpoints = names(folder).into_iter().filter(|name| name.starts_with("checkpoint-"));
        assert!(checkpoints.count() <= 1, "old checkpoints are left in {}", folder.display());
    }
}

/// A running `mobillm`, ended with the test.
pub struct Running {
    child: Child,
    /// Lines of stderr as they come; closed at its end.
    lines: Receiver<String>,
    /// What was read of stderr.
    read: String,
}

impl Running {
    pub fn start(mut command: Command) -> Self {
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let errors = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            // Once the test is over nobody takes them any more.
            errors.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, lines, read: String::new() }
    }

    /// Waits for a line on stderr that has `words` in it, and returns the line.
    #[track_caller]
    pub fn wait_for(&mut self, words: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let line = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let Ok(line) = line else { panic!("no line with {words:?} in:\n{}", self.read) };
            writeln!(self.read, "{line}").unwrap();
            if line.contains(words) {
                return line;
            }
        }
    }

    /// Waits until `is_so`.
    #[track_caller]
    pub fn wait_until(&self, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < deadline, "what is waited for does not come");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends the signal `name`, such as INT.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(mut self) -> Output {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end:\n{}", self.read);
            thread::sleep(Duration::from_millis(5));
        };
        let mut stdout = Vec::new();
        self.child.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
        for line in self.lines.iter() {
            writeln!(self.read, "{line}").unwrap();
        }
        Output { status, stdout, stderr: std::mem::take(&mut self.read).into_bytes() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, unless its test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
