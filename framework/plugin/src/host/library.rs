//! A library: found, looked at, loaded for as long as the process lives.

use std::any::Any;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::registry::{DuplicateTag, Entry, Registry, Slot};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::instance::Name;
use super::manifest::Manifest;
use super::table::{self, Table};
use super::{hang, header};
use crate::abi::{MobillmEntry, MobillmPlugin, MobillmSlot, MobillmText, SYMBOL};

/// Why a library is not used.
#[derive(Debug, Clone, Error)]
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
    /// What messages call it, and each of them.
    whose: &'static Name,
    names: Vec<Name>,
    header: MobillmPlugin,
    /// The tables that were asked for, by slot.
    tables: Mutex<BTreeMap<MobillmSlot, &'static (dyn Any + Send + Sync)>>,
}

/// What is loaded in this process.
fn loaded() -> MutexGuard<'static, Vec<&'static Library>> {
    static LOADED: Mutex<Vec<&'static Library>> = Mutex::new(Vec::new());
    LOADED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was started in this process, by the address of its header, and what came of it: `start` is called once.
fn started() -> MutexGuard<'static, BTreeMap<usize, Result<&'static Library, LibraryError>>> {
    static STARTED: Mutex<BTreeMap<usize, Result<&'static Library, LibraryError>>> =
        Mutex::new(BTreeMap::new());
    STARTED.lock().unwrap_or_else(PoisonError::into_inner)
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
        // It is kept for ever, as what is loaded is.
        let file: &'static Name = Box::leak(Box::new(Name::new(path.display().to_string())));
        let at = {
            let _out = hang::out(file, &SYMBOL);
            // SAFETY: as the caller promises.
            unsafe { entry() }
        };
        // One library under two names: a link to its file, or one that is linked in and asked for again.
        if let Some(known) = started().get(&at.addr()) {
            return known.clone();
        }
        // SAFETY: as the caller promises; the first fields are looked at before the others.
        let header = unsafe { header::read(&path, at) }?;
        // SAFETY: as the caller promises.
        let library = unsafe { Self::of_header(path, header, sha256, manifest) };
        let library = library.map(|library| &*Box::leak(Box::new(library)));
        if let Ok(library) = &library {
            loaded().push(library);
        }
        started().insert(at.addr(), library.clone());
        library
    }

    /// # Safety
    /// As for [`load`](Self::load).
    unsafe fn of_header(
        path: PathBuf,
        header: MobillmPlugin,
        sha256: Option<Fingerprint>,
        manifest: Option<Manifest>,
    ) -> Result<Self, LibraryError> {
        let wrong = |call, problem| LibraryError::Start { path: path.clone(), call, problem };
        // SAFETY: the texts of a header live as long as it does.
        let text = |text: MobillmText| unsafe { text.read() }.map(str::to_owned);
        let text = |what| text(what).map_err(|problem| wrong("header", problem));
        let (own_name, version) = (text(header.name)?, text(header.version)?);
        let (name, built_by) = (format!("{own_name} {version}"), text(header.built_by)?);
        // It lives as long as the library: for ever.
        let whose: &'static Name = Box::leak(Box::new(Name::new(name.clone())));
        // SAFETY: the header has all its functions.
        let components = unsafe { header::start(&header, whose) };
        let components = components.map_err(|(call, problem)| wrong(call, problem))?;
        let own = Manifest {
            name: own_name,
            version,
            abi: format!("{}.{}", header.major, header.minor),
            slots: components.iter().map(|component| component.slot).collect(),
            sha256,
        };
        manifest.map_or(Ok(()), |manifest| manifest.agree(&path, &own))?;
        let named = |own: &Component| Name::new(format!("{} `{}` of {name}", own.slot, own.tag));
        let names = components.iter().map(named).collect();
        let tables = Mutex::default();
        let manifest = own;
        let library =
            Self { path, name, manifest, built_by, components, whose, names, header, tables };
        library.refuse_taken_tags()?;
        Ok(library)
    }

    /// A config names a component by its tag alone: so a process has one of each.
    fn refuse_taken_tags(&self) -> Result<(), LibraryError> {
        for (at, Component { slot, tag, .. }) in self.components.iter().enumerate() {
            let twice = self.position(*slot, tag).filter(|first| *first < at);
            let twice = twice.map(|_| self.path.clone());
            let elsewhere = || Self::having(*slot, tag).map(|known| known.path.clone());
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

    /// The table of a slot.
    ///
    /// # Errors
    /// If the library has none, or one that is no table of this ABI.
    pub(crate) fn table<T: Table>(&'static self) -> Result<&'static T, String> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = tables.get(&T::CODE).and_then(|table| table.downcast_ref()) {
            return Ok(known);
        }
        let _out = hang::out(self.whose, &"table");
        // Version 1.0 will do: what a newer one would have is looked for in the table itself.
        // SAFETY: the header has all its functions.
        let pointer = unsafe { (self.header.table)(T::CODE, 0) };
        if pointer.is_null() {
            return Err(format!("there is no table of the slot {}", T::SLOT));
        }
        // SAFETY: it is a table of this slot, as it was asked for.
        let table: &'static T = Box::leak(Box::new(unsafe { table::table(pointer.cast()) }?));
        tables.insert(T::CODE, table);
        Ok(table)
    }

    /// Where its component of `slot` with this tag is listed.
    fn position(&self, slot: Slot, tag: &str) -> Option<usize> {
        self.components.iter().position(|own| own.slot == slot && own.tag == tag)
    }

    /// The library whose component of `slot` has this tag.
    pub fn having(slot: Slot, tag: &str) -> Option<&'static Self> {
        loaded().iter().find(|library| library.position(slot, tag).is_some()).copied()
    }

    /// The same, and what a message calls that component.
    pub(crate) fn of(slot: Slot, tag: &str) -> Option<(&'static Self, &'static Name)> {
        let library = Self::having(slot, tag)?;
        Some((library, library.names.get(library.position(slot, tag)?)?))
    }
}
