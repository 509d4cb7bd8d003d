//! Somebody with access to the log's files: changes bytes, and knows the format well enough to
//! rebuild tiles and, with the log's own or another key, sign what comes out.

use std::fs;
use std::path::{Path, PathBuf};

use tidegate_audit::bundle;
use tidegate_audit::checkpoint::{Checkpoint, Signed};
use tidegate_audit::hash::Hash;
use tidegate_audit::note::SigningKey;
use tidegate_audit::tile::{Kind, Tile};
use tidegate_audit::tree::root_of;

/// The log's name.
pub(crate) const ORIGIN: &str = "edge-1.example.com/audit";

/// A log's directory, and what was in it.
#[derive(Debug)]
pub(crate) struct Forger {
    pub(crate) path: PathBuf,
    pub(crate) entries: Vec<Vec<u8>>,
}

impl Forger {
    pub(crate) fn size(&self) -> u64 {
        self.entries.len() as u64
    }

    /// The bundle or tile that holds `index`.
    pub(crate) fn tile(&self, kind: Kind, index: u64) -> Tile {
        Tile::in_tree(kind, index / 256, self.size()).unwrap()
    }

    pub(crate) fn file(&self, tile: Tile) -> PathBuf {
        self.path.join(tile.path())
    }

    pub(crate) fn read(&self, tile: Tile) -> Vec<u8> {
        fs::read(self.file(tile)).unwrap()
    }

    /// Writes a file anew: the copy shares its files with the original.
    pub(crate) fn write(&self, tile: Tile, bytes: &[u8]) {
        replace(&self.file(tile), bytes);
    }

    pub(crate) fn change(&self, tile: Tile, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.read(tile);
        change(&mut bytes);
        self.write(tile, &bytes);
    }

    /// Changes the entries of the bundle that holds `index`, and nothing else.
    pub(crate) fn change_bundle(&self, index: u64, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
        let tile = self.tile(Kind::Entries, index);
        let bytes = self.read(tile);
        let mut entries: Vec<_> = bundle::entries(&bytes, usize::from(tile.width))
            .unwrap()
            .into_iter()
            .map(<[u8]>::to_vec)
            .collect();
        change(&mut entries);
        self.write(tile, &bundle_of(&entries));
    }

    /// Rebuilds the tile of `level` over entry `index` from what is below it.
    pub(crate) fn refit(&self, level: u8, index: u64) {
        let at = index / 256_u64.pow(u32::from(level));
        let tile = self.tile(Kind::Hashes(level), at);
        let below = tile.index * 256..tile.index * 256 + u64::from(tile.width);
        let hashes: Vec<_> = if level == 0 {
            let bundle = Tile { kind: Kind::Entries, ..tile };
            let bytes = self.read(bundle);
            let entries = bundle::entries(&bytes, usize::from(tile.width)).unwrap();
            entries.into_iter().map(Hash::of_leaf).collect()
        } else {
            let kind = Kind::Hashes(level - 1);
            below.map(|index| root_of(&self.hashes(Tile { kind, index, width: 256 }))).collect()
        };
        self.write(tile, &bytes_of(&hashes));
    }

    pub(crate) fn hashes(&self, tile: Tile) -> Vec<Hash> {
        tidegate_audit::tiles::parse_hashes(&self.read(tile), tile).unwrap()
    }

    /// Writes another log in its place, signed with `key`.
    pub(crate) fn rewrite(&mut self, entries: Vec<Vec<u8>>, key: &SigningKey) {
        let tiles = self.path.join("tile");
        if tiles.exists() {
            fs::remove_dir_all(tiles).unwrap();
        }
        self.entries = entries;
        let size = self.size();
        for (tile, chunk) in Tile::all_at(Kind::Entries, size).zip(self.entries.chunks(256)) {
            self.write(tile, &bundle_of(chunk));
        }
        let mut hashes: Vec<_> = self.entries.iter().map(|entry| Hash::of_leaf(entry)).collect();
        let mut level = 0;
        while !hashes.is_empty() {
            for (tile, chunk) in Tile::all_at(Kind::Hashes(level), size).zip(hashes.chunks(256)) {
                self.write(tile, &bytes_of(chunk));
            }
            hashes = hashes.chunks_exact(256).map(root_of).collect();
            level += 1;
        }
        let signed = sign(&self.entries, key);
        self.write_checkpoint(signed.to_string().as_bytes());
    }

    pub(crate) fn checkpoint(&self) -> Vec<u8> {
        fs::read(self.path.join("checkpoint")).unwrap()
    }

    pub(crate) fn write_checkpoint(&self, bytes: &[u8]) {
        replace(&self.path.join("checkpoint"), bytes);
    }
}

/// The checkpoint of a log of these entries.
pub(crate) fn sign(entries: &[Vec<u8>], key: &SigningKey) -> Signed {
    let leaves: Vec<_> = entries.iter().map(|entry| Hash::of_leaf(entry)).collect();
    let (size, root) = (entries.len() as u64, root_of(&leaves));
    Checkpoint { origin: ORIGIN.to_owned(), size, root }.sign(key).unwrap()
}

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(ORIGIN, [seed; 32]).unwrap()
}

/// An entry that no other index has.
pub(crate) fn entry(index: u64) -> Vec<u8> {
    format!("{{\"v\":1,\"event\":\"payment\",\"request_id\":\"{index}\"}}").into_bytes()
}

fn bundle_of(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    entries.iter().for_each(|entry| bundle::push(&mut bytes, entry).unwrap());
    bytes
}

fn bytes_of(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

/// Never writes into a file: the original may be the same one.
pub(crate) fn replace(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    if path.exists() {
        fs::remove_file(path).unwrap();
    }
    fs::write(path, bytes).unwrap();
}
