//! `mobillm pull`, as far as it needs no network.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::setup::{Running, Setup, failed};

#[test]
fn without_a_name_it_lists_what_there_is() {
    let setup = Setup::new();
    let list = setup.succeeds(&["pull"]);
    for name in ["onnxruntime", "libtorch", "all-minilm-l6-v2", "smollm2-135m-instruct", "sms-spam"]
    {
        let lines = || list.lines().filter(|line| line.split_whitespace().next() == Some(name));
        assert_eq!(lines().count(), 1, "{name} in:\n{list}");
    }
    let json = setup.json(&["pull", "--json"]);
    let items = json.as_array().unwrap();
    let item = items.iter().find(|item| item["name"] == "onnxruntime").unwrap();
    assert!(item["path"].is_string(), "it is on this machine: {item}");
    assert!(items.iter().all(|item| item["license"].is_string()), "{json}");
}

#[test]
fn what_is_there_already_is_found_without_a_download() {
    let setup = Setup::new();
    let mut command = setup.command(&["pull", "onnxruntime"]);
    command.env("MOBILLM_PYTHON", setup.path("nothing"));
    let stdout = crate::setup::succeeded(&command.output().unwrap());
    assert!(stdout.starts_with("onnxruntime: /"), "{stdout}");
}

#[cfg(all(target_os = "linux", target_arch = "x86_64", not(feature = "libtorch")))]
#[test]
fn what_is_pulled_for_a_plugin_comes_with_how_to_get_that() {
    let setup = Setup::new();
    let library = setup.path("cache/libraries/libtorch-2.13.0");
    fs::create_dir_all(&library).unwrap();
    // A copy, beside which there is nothing yet.
    let program = setup.path("mobillm");
    fs::copy(env!("CARGO_BIN_EXE_mobillm"), &program).unwrap();
    let told = || {
        let mut command = Command::new(&program);
        let command = command.args(["pull", "libtorch"]).env("MOBILLM_CACHE", setup.path("cache"));
        let output = command.output().unwrap();
        let stdout = crate::setup::succeeded(&output);
        assert_eq!(stdout, format!("libtorch: {}\n", library.display()));
        String::from_utf8(output.stderr).unwrap()
    };
    let missing = told();
    let remedy = "no side network `libtorch`; `cargo xtask libtorch`";
    assert!(missing.contains(remedy), "{missing}");
    let plugin = setup.path("libmobillm_adapter_libtorch.so");
    fs::write(&plugin, "").unwrap();
    let found = told();
    let expected = format!("is the plugin {}: name it in `[plugins] load`", plugin.display());
    assert!(found.contains(&expected), "{found}");
}

#[test]
fn an_unknown_name_is_refused_with_the_nearest() {
    let setup = Setup::new();
    let error = setup.fails(1, &["pull", "onxruntime"]);
    assert!(error.contains("nothing named `onxruntime` can be pulled"), "{error}");
    assert!(error.contains("did you mean `onnxruntime`?"), "{error}");
}

#[test]
fn without_pip_it_says_what_to_install() {
    let setup = Setup::new();
    let mut command = setup.command(&["pull", "sms-spam"]);
    command.env("MOBILLM_CACHE", setup.path("cache"));
    command.env("MOBILLM_PYTHON", setup.path("nothing"));
    let error = failed(1, &command.output().unwrap());
    assert!(error.contains("install Python 3 with pip, or set MOBILLM_PYTHON"), "{error}");
}

#[test]
fn a_signal_ends_a_pull_at_once() {
    let setup = Setup::new();
    setup.write("python", "#!/bin/sh\ntouch \"$STARTED\"\nexec sleep 600\n");
    fs::set_permissions(setup.path("python"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = setup.command(&["pull", "sms-spam"]);
    command.env("MOBILLM_CACHE", setup.path("cache"));
    command.env("MOBILLM_PYTHON", setup.path("python"));
    command.env("STARTED", setup.path("started"));
    // Like a terminal, the test signals a whole group: pip as well.
    command.process_group(0);
    let pull = Running::start(command);
    let deadline = Instant::now() + Duration::from_secs(60);
    while !setup.path("started").exists() {
        assert!(Instant::now() < deadline, "pip was not started");
        std::thread::sleep(Duration::from_millis(5));
    }
    // Not INT, which is ignored by all that a shell starts in the background, tests included.
    let group = format!("kill -TERM -{}", pull.id());
    assert!(Command::new("sh").args(["-c", &group]).status().unwrap().success());
    assert_eq!(pull.end().status.signal(), Some(15));
}
