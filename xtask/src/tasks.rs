//! The tasks.

use std::env;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX, EXE_SUFFIX};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::needs::Needs;
use crate::process::{Failure, cargo, run, run_into, run_keeping};
use crate::snapshots::Compared;

/// The quickstart's run folder, relative to the checkout.
const RUN: &str = "runs/quickstart";

/// The crates that can be built with libtorch in them.
const WITH_LIBTORCH: &str = "mobillm-cli/libtorch,mobillm-snapshots/libtorch";

/// The crate that is a plugin with libtorch.
const LIBTORCH: &str = "mobillm-adapter-libtorch";

/// The folder of the sources.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// From nothing to a fine-tuned model: all of it by the binary that users have.
pub(crate) fn quickstart(arguments: &[String]) -> Result<(), Failure> {
    takes_nothing("quickstart", arguments)?;
    let root = root();
    let mobillm = build_mobillm()?;
    for arguments in [
        &["pull", "onnxruntime", "all-minilm-l6-v2", "sms-spam"][..],
        &["run", "examples/configs/mobillm.toml", "--out", RUN, "--fresh"],
    ] {
        let mut command = Command::new(&mobillm);
        // The command to try next is printed as it is called here: let that be short.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::arg0(
            &mut command,
            mobillm.strip_prefix(root).unwrap_or(&mobillm),
        );
        run(command.args(arguments).current_dir(root))?;
    }
    Ok(())
}

/// Builds what users have; the path of the program.
fn build_mobillm() -> Result<PathBuf, Failure> {
    run(&mut cargo(&["build", "--release", "--package", "mobillm-cli"]))?;
    Ok(release_folder().join("mobillm"))
}

/// Where cargo puts this program: such as `target/debug`.
fn debug_folder() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    program.parent().unwrap_or(Path::new("")).to_owned()
}

/// Where cargo puts release binaries.
fn release_folder() -> PathBuf {
    debug_folder().with_file_name("release")
}

/// The file of the plugin with libtorch.
fn plugin() -> String {
    format!("{DLL_PREFIX}{}{DLL_SUFFIX}", LIBTORCH.replace('-', "_"))
}

/// The plugin with libtorch, for the program that users have.
pub(crate) fn libtorch(arguments: &[String]) -> Result<(), Failure> {
    takes_nothing("libtorch", arguments)?;
    let needs = Needs::the_workspace()?;
    let build = &["build", "--release", "--package", LIBTORCH, "--package", "mobillm-cli"];
    run(needs.tell(&mut cargo(build)))?;
    let (path, program) = (release_folder().join(plugin()), release_folder().join("mobillm"));
    let (path, program) = (path.display(), program.display());
    println!(
        "A config that says\n\n    [plugins]\n    load = [\"{path}\"]\n\n\
         may name the side network `libtorch`. The example trains with it by\n\n    \
         {program} run examples/configs/mobillm-libtorch.toml --set 'plugins.load=[\"{path}\"]'"
    );
    Ok(())
}

/// What `docs` has of every option: as the program prints it, with the plugin that is not linked in.
pub(crate) fn docs(arguments: &[String]) -> Result<(), Failure> {
    takes_nothing("docs", arguments)?;
    let needs = Needs::the_workspace()?;
    let build = &["build", "--package", "mobillm-cli", "--package", LIBTORCH];
    run(needs.tell(&mut cargo(build)))?;
    let mobillm = debug_folder().join(format!("mobillm{EXE_SUFFIX}"));
    let plugin = debug_folder().join(plugin());
    let docs = root().join("docs");
    for (options, file) in [(&[][..], "mobillm.schema.json"), (&["--reference"], "options.md")] {
        let mut command = Command::new(&mobillm);
        command.arg("schema").args(options).arg("--load").arg(&plugin);
        run_into(&mut command, &docs.join(file))?;
    }
    Ok(())
}

/// Every test of the workspace, then the examples in its docs; then no snapshot may be left that none of
/// them was compared with. Arguments select tests by the runner's own rules; then the rest is left out.
pub(crate) fn test(arguments: &[String]) -> Result<(), Failure> {
    let needs = Needs::everything()?;
    let runner = || {
        cargo(if has_nextest() {
            &["nextest", "run", "--no-fail-fast"]
        } else {
            &["test", "--tests", "--no-fail-fast"]
        })
    };
    let mut tests = runner();
    if !arguments.iter().any(|word| word.starts_with("-p") || word.starts_with("--package")) {
        tests.arg("--workspace");
    }
    tests.args(arguments);
    let mut runs = vec![tests];
    if arguments.is_empty() {
        // The base binary does without libtorch: one with it linked in is a second build of a few crates.
        let mut with_libtorch = runner();
        with_libtorch.args(["--workspace", "--features", WITH_LIBTORCH, "libtorch"]);
        runs.push(with_libtorch);
        runs.push(cargo(&["test", "--doc", "--workspace"]));
    }
    let compared = Compared::new();
    let mut closing = Vec::new();
    let outcome = runs.iter_mut().try_for_each(|command| {
        // A snapshot that differs is a failure, not a file to write.
        let command = compared.tell(needs.tell(command)).env("INSTA_UPDATE", "no");
        run_keeping(command, is_closing, &mut closing)
    });
    println!("\n{}", closing.join("\n"));
    outcome?;
    if arguments.is_empty() { compared.check(root()) } else { Ok(()) }
}

/// The lines that sum up: nextest has one, cargo one for each crate, of which some had no tests.
fn is_closing(line: &str) -> bool {
    line.starts_with("Summary [")
        || line.starts_with("test result:") && !line.contains(" 0 passed; 0 failed")
}

fn has_nextest() -> bool {
    let asked =
        cargo(&["nextest", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

/// What a change must pass besides its tests.
pub(crate) fn lint(arguments: &[String]) -> Result<(), Failure> {
    takes_nothing("lint", arguments)?;
    run(&mut cargo(&["fmt", "--all", "--", "--check"]))?;
    let needs = Needs::the_workspace()?;
    let clippy = &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    run(needs.tell(&mut cargo(clippy)))?;
    let clippy = &[
        "clippy",
        "--workspace",
        "--features",
        WITH_LIBTORCH,
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    run(needs.tell(&mut cargo(clippy)))?;
    let mut docs = cargo(&["doc", "--workspace", "--no-deps"]);
    run(needs.tell(&mut docs).env("RUSTDOCFLAGS", "-D warnings"))
}

/// Tests of libraries that are loaded, in Rust and in C, sound ones and hostile ones.
const WITH_LIBRARIES: [&str; 3] = ["conformance_dlopen", "dlopen", "hostile"];

/// Runs them under valgrind's memcheck: it sees both sides of the door, whatever compiler made them, where
/// AddressSanitizer sees what was compiled for it. What is lost counts as an error. ONNX Runtime and the system's loader, which finds
/// it, read and copy in ways that memcheck takes for errors: neither is ours, so its backbone is left out.
pub(crate) fn sanitize(arguments: &[String]) -> Result<(), Failure> {
    takes_nothing("sanitize", arguments)?;
    let suppressions = concat!(env!("CARGO_MANIFEST_DIR"), "/valgrind.supp");
    let runner = format!(
        "target.'cfg(unix)'.runner = ['valgrind', '--quiet', '--error-exitcode=1', '--num-callers=20', \
         '--leak-check=full', '--show-leak-kinds=definite', '--errors-for-leak-kinds=definite', \
         '--suppressions={suppressions}']"
    );
    let mut tests = cargo(&["test", "--package", "mobillm-plugin", "--no-fail-fast"]);
    tests.args(["--config", &runner]).args(WITH_LIBRARIES.iter().flat_map(|name| ["--test", name]));
    tests.args(["--", "--skip", "onnxruntime"]);
    // What finds the lines of a backtrace keeps memory for the next one.
    tests.env("RUST_BACKTRACE", "0");
    run(&mut tests)
}

/// The benchmarks that run the model on text.
const WITH_MODEL: [&str; 4] = ["pipeline", "quickstart", "compare", "device-vs-peft"];

/// Those that run the program itself, each with the model that it runs on.
const WITH_PROGRAM: [(&str, &str); 2] =
    [("compare", "all-minilm-l6-v2"), ("device-vs-peft", "smollm2-135m-instruct@int8")];

/// Hands its arguments to `mobillm-bench`.
pub(crate) fn bench(arguments: &[String]) -> Result<(), Failure> {
    if arguments.is_empty() {
        return Err(Failure::Usage(
            "which benchmark? `cargo xtask bench --list` names them".into(),
        ));
    }
    let mut bench = cargo(&["run", "--quiet", "--release", "--package", "mobillm-bench", "--"]);
    bench.args(arguments);
    let is_of = |benchmarks: &[&str]| arguments.iter().any(|word| benchmarks.contains(&&**word));
    if is_of(&["plugins"]) {
        let libraries = ["--package", "mobillm-plugin-builtins", "--package", "acme-codes"];
        run(cargo(&["build", "--release"]).args(libraries))?;
        bench.env("MOBILLM_PROGRAM", build_mobillm()?);
    }
    if is_of(&WITH_MODEL) {
        let needs = Needs::a_run()?;
        needs.tell(&mut bench);
        for (_, model) in WITH_PROGRAM.iter().filter(|(name, _)| is_of(&[name])) {
            let mobillm = build_mobillm()?;
            run(needs.tell(Command::new(&mobillm).args(["pull", model])))?;
            bench.env("MOBILLM_PROGRAM", mobillm);
        }
    }
    run(&mut bench)
}

fn takes_nothing(task: &str, arguments: &[String]) -> Result<(), Failure> {
    match arguments.first() {
        None => Ok(()),
        Some(word) => Err(Failure::Usage(format!("`{task}` takes no arguments, but got `{word}`"))),
    }
}
