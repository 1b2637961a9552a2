//! A library: found, looked at, loaded for as long as the process lives.

use std::ffi::c_void;
use std::fs;
use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::registry::{DuplicateTag, Entry, Registry, Slot};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::instance::Name;
use super::manifest::Manifest;
use crate::abi::{
    MAGIC, MAJOR, MINOR, MOBILLM_OK, MobillmEntry, MobillmHost, MobillmPlugin, MobillmSlot,
    MobillmText, SYMBOL,
};
use crate::text::Written;

/// Why a library is not used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LibraryError {
    /// It is not there, or the system cannot load it.
    #[error("{}: {problem}", path.display())]
    Load {
        /// The library.
        path: PathBuf,
        /// What the system said, and what to do.
        problem: String,
    },
    /// It is no plugin, or one of another ABI.
    #[error("{}: {what} is {got}, expected {expected}; {remedy}", path.display())]
    Abi {
        /// The library.
        path: PathBuf,
        /// What does not fit.
        what: &'static str,
        /// What the library has.
        got: String,
        /// What this host takes.
        expected: String,
        /// What to do.
        remedy: &'static str,
    },
    /// It gave something wrong before anything was built.
    #[error("{}: {call}: {problem}; tell the plugin's author", path.display())]
    Start {
        /// The library.
        path: PathBuf,
        /// The function of the header.
        call: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The manifest beside it is none, or that of another library.
    #[error("{}: {problem}; get library and manifest from one place (an author writes it with `mobillm plugins check FILE --seal`)", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Two libraries have one tag: which of them an instance is of could not be told.
    #[error("{}: its {slot} `{tag}` is that of {} too; a process takes one of them", path.display(), other.display())]
    Taken {
        /// The library.
        path: PathBuf,
        /// The slot of the component that both have.
        slot: Slot,
        /// Its tag.
        tag: String,
        /// The library that was loaded before.
        other: PathBuf,
    },
    /// A tag that is taken.
    #[error(transparent)]
    Tag(#[from] DuplicateTag),
}

/// A component of a library.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Component {
    /// The slot that it fills.
    pub slot: Slot,
    /// Its `type` in a config.
    pub tag: String,
    /// The JSON schema of its options.
    pub schema: schemars::Schema,
}

/// A library that is loaded. It stays so until the process ends: what came from it may be anywhere.
#[derive(Debug)]
pub struct Library {
    /// The file; of one that is linked in, its name.
    pub path: PathBuf,
    /// Its name and version.
    pub name: String,
    /// What it says of itself.
    pub manifest: Manifest,
    /// The compiler that built it.
    pub built_by: String,
    /// What it has.
    pub components: Vec<Component>,
    header: &'static MobillmPlugin,
}

/// What is loaded in this process.
fn loaded() -> MutexGuard<'static, Vec<&'static Library>> {
    static LOADED: Mutex<Vec<&'static Library>> = Mutex::new(Vec::new());
    LOADED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Held while a library is loaded, so that two threads do not load one twice.
fn loading() -> MutexGuard<'static, ()> {
    static LOADING: Mutex<()> = Mutex::new(());
    LOADING.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Library {
    /// Loads the library at `path`, or gives the one that was loaded from there.
    ///
    /// The manifest beside it, if there is one, is read before and must agree with the file.
    ///
    /// # Errors
    /// If the file is no library for this machine, no plugin, one of another ABI, not the one of its manifest, or
    /// does not start.
    ///
    /// # Safety
    /// It runs the library's code in this process, and believes what C cannot check: that its functions do
    /// what the ABI says.
    pub unsafe fn load(path: &Path) -> Result<&'static Self, LibraryError> {
        let load = |problem: String| LibraryError::Load { path: path.to_owned(), problem };
        let path =
            path.canonicalize().map_err(|error| load(format!("{error}; is the path right?")))?;
        let _one_at_a_time = loading();
        if let Some(known) = loaded().iter().find(|known| known.path == path) {
            return Ok(known);
        }
        let sha256 = fs::read(&path).map(|bytes| Fingerprint::of(&bytes));
        let sha256 = sha256.map_err(|error| load(error.to_string()))?;
        let manifest = Manifest::beside(&path)?;
        manifest.as_ref().map_or(Ok(()), |manifest| manifest.admit(&path, sha256))?;
        // SAFETY: as the caller promises.
        let library = unsafe { libloading::Library::new(&path) };
        let library = library.map_err(|error| {
            let said = std::error::Error::source(&error)
                .map_or(error.to_string(), |said| said.to_string());
            load(format!(
                "{said}; expected a dynamic library for this system and all that it needs"
            ))
        })?;
        // It is never unloaded: threads, thread locals and pointers of its own may live on.
        let library = Box::leak(Box::new(library));
        // SAFETY: a symbol of this name has this type, or the library is no plugin; as the caller promises.
        let entry = unsafe { library.get::<MobillmEntry>(SYMBOL.as_bytes()) };
        let entry = entry.map_err(|_| LibraryError::Abi {
            path: path.clone(),
            what: "the exported symbol",
            got: "missing".to_owned(),
            expected: format!("`{SYMBOL}`"),
            remedy: "is it a plugin of mobillm?",
        })?;
        // SAFETY: as the caller promises.
        unsafe { Self::start(path, *entry, Some(sha256), manifest) }
    }

    /// Loads the library at `path`, because a user has named it: [`load`](Self::load) for programs in safe Rust.
    ///
    /// Naming a library, in a config or on a command line, is saying that its code may run in this process with all
    /// rights that the process has. Nothing here can check what that code does: pass no path that a user did not
    /// name.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn named_by_user(path: &Path) -> Result<&'static Self, LibraryError> {
        // SAFETY: what `load` asks for is what the user says by naming the library, as the docs above tell.
        unsafe { Self::load(path) }
    }

    /// A library that is linked into this program: the same door without a file.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    ///
    /// # Safety
    /// As for [`load`](Self::load).
    pub unsafe fn linked(name: &str, entry: MobillmEntry) -> Result<&'static Self, LibraryError> {
        let _one_at_a_time = loading();
        // SAFETY: as the caller promises.
        unsafe { Self::start(PathBuf::from(name), entry, None, None) }
    }

    /// # Safety
    /// As for [`load`](Self::load).
    unsafe fn start(
        path: PathBuf,
        entry: MobillmEntry,
        sha256: Option<Fingerprint>,
        manifest: Option<Manifest>,
    ) -> Result<&'static Self, LibraryError> {
        // SAFETY: as the caller promises; the first fields are looked at before the others.
        let header = unsafe { header(&path, entry()) }?;
        // One library under two names: a link to its file, or one that is linked in and asked for again.
        if let Some(known) = loaded().iter().find(|known| std::ptr::eq(known.header, header)) {
            return Ok(known);
        }
        let wrong = |call, problem| LibraryError::Start { path: path.clone(), call, problem };
        let mut error = Written::default();
        let writer = error.writer();
        // SAFETY: the header has all its functions, and both pointers live for the call.
        let status = unsafe { (header.start)(&HOST, &writer) };
        if status != MOBILLM_OK {
            return Err(wrong("start", format!("{} (status {status})", error.text())));
        }
        let mut listed = Written::default();
        let writer = listed.writer();
        // SAFETY: as above.
        let status = unsafe { (header.components)(&writer) };
        if status != MOBILLM_OK {
            return Err(wrong("components", format!("status {status}")));
        }
        let components: Vec<Component> = serde_json::from_slice(&listed.0)
            .map_err(|error| wrong("components", format!("{error} in {:?}", listed.text())))?;
        // SAFETY: the texts of a header live as long as it does.
        let text = |text: MobillmText| unsafe { text.read() }.map(str::to_owned);
        let text = |what| text(what).map_err(|problem| wrong("header", problem));
        let own = Manifest {
            name: text(header.name)?,
            version: text(header.version)?,
            abi: format!("{}.{}", header.major, header.minor),
            slots: components.iter().map(|component| component.slot).collect(),
            sha256,
        };
        manifest.map_or(Ok(()), |manifest| manifest.agree(&path, &own))?;
        let name = format!("{} {}", own.name, own.version);
        let built_by = text(header.built_by)?;
        let library = Self { path, name, manifest: own, built_by, components, header };
        library.refuse_taken_tags()?;
        let library: &'static Self = Box::leak(Box::new(library));
        loaded().push(library);
        Ok(library)
    }

    /// A config names a component by its tag alone: so a process has one of each.
    fn refuse_taken_tags(&self) -> Result<(), LibraryError> {
        for (at, Component { slot, tag, .. }) in self.components.iter().enumerate() {
            let has = |components: &[Component]| {
                components.iter().any(|other| other.slot == *slot && other.tag == *tag)
            };
            let twice = has(&self.components[..at]).then(|| self.path.clone());
            let elsewhere = || {
                let loaded = loaded();
                loaded.iter().find(|known| has(&known.components)).map(|known| known.path.clone())
            };
            if let Some(other) = twice.or_else(elsewhere) {
                let (path, tag) = (self.path.clone(), tag.clone());
                return Err(LibraryError::Taken { path, slot: *slot, tag, other });
            }
        }
        Ok(())
    }

    /// Adds its components to `registry`, so that configs may name them.
    ///
    /// # Errors
    /// If a tag is taken.
    pub fn register(&'static self, registry: &mut Registry) -> Result<(), LibraryError> {
        for Component { slot, tag, schema } in &self.components {
            registry.insert(Entry {
                slot: *slot,
                tag,
                origin: &self.name,
                loaded: true,
                schema: schema.clone(),
            })?;
        }
        Ok(())
    }

    /// The table of `slot`, if the library has it.
    pub(crate) fn table(&'static self, slot: MobillmSlot) -> Option<*const c_void> {
        // SAFETY: the header has all its functions.
        let table = unsafe { (self.header.interface)(slot, MINOR) };
        (!table.is_null()).then_some(table)
    }

    /// The library whose component of `slot` has this tag.
    pub fn having(slot: Slot, tag: &str) -> Option<&'static Self> {
        let has = |own: &Component| own.slot == slot && own.tag == tag;
        loaded().iter().find(|library| library.components.iter().any(has)).copied()
    }

    /// The same, and what a message calls that component.
    pub(crate) fn of(slot: Slot, tag: &str) -> Option<(&'static Self, Name)> {
        let library = Self::having(slot, tag)?;
        Some((library, Name { library: library.name.clone(), slot, tag: tag.to_owned() }))
    }
}

/// The header, if it is one of this ABI.
///
/// # Safety
/// The pointer is null or points to at least the magic and the versions of a header, and to a whole one if these are right.
unsafe fn header(
    path: &Path,
    header: *const MobillmPlugin,
) -> Result<&'static MobillmPlugin, LibraryError> {
    let wrong = |what, got: String, expected: String, remedy| {
        Err(LibraryError::Abi { path: path.to_owned(), what, got, expected, remedy })
    };
    if header.is_null() || !header.is_aligned() {
        return wrong(
            "the header",
            format!("{header:?}"),
            "a pointer".to_owned(),
            "tell the plugin's author",
        );
    }
    // SAFETY: as the caller promises, one after the other: each field is there if those before it are right.
    let (magic, major, size) = unsafe { ((*header).magic, (*header).major, (*header).size) };
    if magic != MAGIC {
        let got = magic.escape_ascii().to_string();
        return wrong(
            "the magic",
            got,
            MAGIC.escape_ascii().to_string(),
            "is it a plugin of mobillm?",
        );
    }
    if major != MAJOR {
        let remedy =
            if major < MAJOR { "get a newer version of the plugin" } else { "get a newer mobillm" };
        return wrong("the ABI's major version", major.to_string(), MAJOR.to_string(), remedy);
    }
    if size < size_of::<MobillmPlugin>() {
        let expected = format!("at least {}", size_of::<MobillmPlugin>());
        return wrong(
            "the header's size",
            size.to_string(),
            expected,
            "get a newer version of the plugin",
        );
    }
    // A function that an author in C left out is a null, which no reference may lead to.
    // SAFETY: it has at least this size, so that all of them may be read, as the pointers that they are in C.
    let functions = unsafe {
        [
            (&raw const (*header).start).cast::<*const c_void>().read(),
            (&raw const (*header).components).cast::<*const c_void>().read(),
            (&raw const (*header).interface).cast::<*const c_void>().read(),
        ]
    };
    if functions.iter().any(|function| function.is_null()) {
        let got = "null".to_owned();
        return wrong(
            "a function of the header",
            got,
            "a function".to_owned(),
            "tell the plugin's author",
        );
    }
    // SAFETY: it is a header of this major version, of at least this size, without a null function.
    Ok(unsafe { &*header })
}

/// What plugins may ask of this process.
static HOST: MobillmHost =
    MobillmHost { size: size_of::<MobillmHost>(), context: std::ptr::null_mut(), log };

unsafe extern "C" fn log(_: *mut c_void, level: u32, line: MobillmText) {
    let level = match level {
        0 => "error",
        1 => "warning",
        _ => "note",
    };
    // SAFETY: the text is lent for the call.
    if let Ok(line) = unsafe { line.read() } {
        // Whoever read stderr may be gone, which is no reason for a run to end.
        let _ = writeln!(stderr(), "plugin: {level}: {line}");
    }
}
