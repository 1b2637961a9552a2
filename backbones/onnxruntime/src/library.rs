//! Finds the ONNX Runtime library, checks it and loads it, once per process.

use std::ffi::{CStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use libloading::{Library, Symbol};
use mobillm_core::backbone::{BackboneError, NativeLibraries};
use ort::environment::Environment;
use ort::sys::OrtApiBase;

/// What we build and test against; later versions keep its API.
const MAJOR: u32 = 1;
const MINOR: u32 = 31;

/// The environment variable that names the library.
pub(crate) const VARIABLE: &str = "ORT_DYLIB_PATH";

/// The library and its one environment. They live as long as the process.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// The library's path: the config's, that of the variable or that of a pulled one, in this order.
pub(crate) fn locate(
    config: Option<&Path>,
    variable: Option<OsString>,
    libraries: &NativeLibraries,
) -> Result<PathBuf, BackboneError> {
    let variable = variable.filter(|path| !path.is_empty());
    config
        .map(Path::to_owned)
        .or_else(|| variable.map(PathBuf::from))
        .or_else(|| libraries.path("onnxruntime").map(Path::to_owned))
        .ok_or_else(|| refused("was not found on this machine", &remedy()))
}

/// The environment of the library at `path`.
pub(crate) fn load(path: &Path) -> Result<Environment, BackboneError> {
    // ort would look for a relative path beside the executable.
    let path = path.canonicalize().map_err(|error| refused_file(path, &error.to_string()))?;
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    match &*loaded {
        Some((first, environment)) if *first == path => Ok(environment.clone()),
        Some((first, _)) => {
            let first = first.display();
            Err(refused_file(&path, &format!("this process has loaded {first} already")))
        }
        None => {
            // ort panics on some libraries that are not ONNX Runtime, and keeps the first that it
            // takes: it gets to see none that was not checked.
            check(&path).map_err(|problem| refused_file(&path, &problem))?;
            let environment = environment(&path).map_err(|error| refused_file(&path, &error))?;
            *loaded = Some((path, environment.clone()));
            Ok(environment)
        }
    }
}

fn environment(path: &Path) -> Result<Environment, String> {
    let builder = ort::init_from(path).map_err(|error| error.to_string())?;
    builder.with_name("mobillm").with_telemetry(false).build().map_err(|error| error.to_string())
}

/// Whether the library at `path` is an ONNX Runtime that we can use.
fn check(path: &Path) -> Result<(), String> {
    // SAFETY: loading runs the library's initializers. The user named this file as ONNX Runtime,
    // and only files that were named are loaded.
    let library = unsafe { Library::new(path) }.map_err(|error| error.to_string())?;
    // SAFETY: this is the signature of `OrtGetApiBase` in every version of ONNX Runtime.
    let base: Symbol<'_, unsafe extern "C" fn() -> *const OrtApiBase> =
        unsafe { library.get(b"OrtGetApiBase\0") }
            .map_err(|_| "it is not ONNX Runtime: it has no `OrtGetApiBase`".to_owned())?;
    // SAFETY: the function takes nothing, and returns a pointer to a static or null.
    let base = unsafe { base().as_ref() };
    let base = base.ok_or("it is not ONNX Runtime: `OrtGetApiBase` returned null")?;
    // SAFETY: the function returns a static string that ends in a zero byte.
    let version = unsafe { CStr::from_ptr((base.GetVersionString)()) };
    let version = version.to_string_lossy();
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(MAJOR), Some(minor)) if minor >= MINOR => Ok(()),
        _ => Err(format!("expected version {MAJOR}.{MINOR} or later, got {version}")),
    }
}

fn refused_file(path: &Path, problem: &str) -> BackboneError {
    refused(&format!("{} cannot be used: {problem}", path.display()), &remedy())
}

fn remedy() -> String {
    format!(
        "run `mobillm pull onnxruntime`, or name the library of a version {MAJOR}.{MINOR} in \
         {VARIABLE} or in the backbone's option `library`"
    )
}

/// The library cannot do what it is to do.
pub(crate) fn refused(problem: &str, remedy: &str) -> BackboneError {
    BackboneError::Library {
        library: "onnxruntime".to_owned(),
        problem: problem.to_owned(),
        remedy: remedy.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_comes_before_the_variable_and_the_variable_before_what_was_pulled() {
        let pulled = NativeLibraries([("onnxruntime".to_owned(), "pulled".into())].into());
        let found = |config: Option<&str>, variable: Option<&str>| {
            locate(config.map(Path::new), variable.map(OsString::from), &pulled).unwrap()
        };
        assert_eq!(found(Some("config"), Some("variable")), Path::new("config"));
        assert_eq!(found(None, Some("variable")), Path::new("variable"));
        assert_eq!(found(None, Some("")), Path::new("pulled"));
        assert_eq!(found(None, None), Path::new("pulled"));
    }

    #[test]
    fn a_missing_library_says_what_to_do() {
        let error = locate(None, None, &NativeLibraries::default()).unwrap_err().to_string();
        assert!(error.contains("onnxruntime: was not found"), "{error}");
        assert!(error.contains("mobillm pull onnxruntime"), "{error}");
    }
}
