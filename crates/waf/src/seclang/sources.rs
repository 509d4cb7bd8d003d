//! Which files make a rule set, and their order: the set-up of the OWASP Core Rule Set and its
//! plugins', what is to come before its rules, the rules, what is to come behind them.

use std::path::{Path, PathBuf};

use super::error::start_of;
use super::loader::Loader;
use super::raw::RawItem;

/// Files of SecLang, named by the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SecLangSources {
    /// A checkout or a package of the OWASP Core Rule Set.
    pub crs: Option<CrsSource>,
    /// Files between its set-up and its rules; may be patterns such as `rules.d/*.conf`.
    pub before: Vec<PathBuf>,
    /// Files behind its rules.
    pub after: Vec<PathBuf>,
}

/// Where the Core Rule Set is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CrsSource {
    /// The folder that has `rules/`.
    pub path: PathBuf,
    /// Its `crs-setup.conf`; by default the one in the folder, or the example there.
    pub setup: Option<PathBuf>,
}

/// Rules of ours about bodies, which come before everything else.
const BODIES: (&str, &str) = ("(built in) bodies.conf", include_str!("bodies.conf"));

/// Where Debian's package keeps rules and set-up.
const DEBIAN: (&str, &str) = ("/usr/share/modsecurity-crs", "/etc/modsecurity/crs/crs-setup.conf");

impl SecLangSources {
    /// Whether they name no file.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.crs.is_none() && self.before.is_empty() && self.after.is_empty()
    }

    pub(super) fn read(&self, loader: &mut Loader<'_>) {
        loader.text(Path::new(BODIES.0), BODIES.1);
        let crs = self.crs.as_ref();
        if let Some(crs) = crs {
            crs.read_setup(loader);
        }
        loader.reader.items.push(RawItem::Settings);
        read_own(&self.before, loader);
        if let Some(crs) = crs {
            crs.read_rules(loader);
        }
        read_own(&self.after, loader);
    }
}

fn read_own(files: &[PathBuf], loader: &mut Loader<'_>) {
    loader.reader.foreign = false;
    for file in files {
        loader.include(file, false, &start_of(file));
    }
}

impl CrsSource {
    fn read_setup(&self, loader: &mut Loader<'_>) {
        let place = start_of(&self.path);
        loader.reader.foreign = true;
        match self.setup() {
            Some(setup) => {
                self.note_missing(&setup, loader);
                loader.include(&setup, false, &place);
            }
            None => loader.reader.report.error(
                &place,
                "there is no crs-setup.conf; say where it is: `crs: { path: .., setup: .. }`",
            ),
        }
        loader.include(&self.path.join("plugins/*-config.conf"), true, &place);
    }

    fn read_rules(&self, loader: &mut Loader<'_>) {
        let place = start_of(&self.path);
        loader.reader.foreign = true;
        loader.include(&self.path.join("plugins/*-before.conf"), true, &place);
        loader.include(&self.path.join("rules/*.conf"), false, &place);
        loader.include(&self.path.join("plugins/*-after.conf"), true, &place);
    }

    fn setup(&self) -> Option<PathBuf> {
        if let Some(setup) = &self.setup {
            return Some(setup.clone());
        }
        let mut places =
            vec![self.path.join("crs-setup.conf"), self.path.join("crs-setup.conf.example")];
        if self.path == Path::new(DEBIAN.0) {
            places.push(PathBuf::from(DEBIAN.1));
        }
        places.into_iter().find(|place| place.is_file())
    }

    /// Where a set-up would be found first, if there were one.
    fn note_missing(&self, setup: &Path, loader: &mut Loader<'_>) {
        let first = self.path.join("crs-setup.conf");
        if self.setup.is_none() && setup != first {
            loader.footprint.note_found(&first, &[]);
        }
    }
}
