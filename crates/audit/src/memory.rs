//! A log in memory, for tests: its tiles, as the specification defines them.

use std::collections::HashMap;
use std::io;

use crate::bundle;
use crate::hash::Hash;
use crate::tile::{Kind, TILE_WIDTH, Tile};
use crate::tiles::Tiles;
use crate::tree::root_of;

/// The tiles and bundles of a log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) files: HashMap<Tile, Vec<u8>>,
}

impl Memory {
    /// The log of these entries.
    pub(crate) fn of(entries: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let entries: Vec<_> = entries.into_iter().collect();
        let size = entries.len() as u64;
        let mut files = HashMap::new();
        for (tile, chunk) in Tile::all_at(Kind::Entries, size).zip(entries.chunks(256)) {
            let mut bytes = Vec::new();
            chunk.iter().for_each(|entry| bundle::push(&mut bytes, entry).unwrap());
            files.insert(tile, bytes);
        }
        let mut hashes: Vec<_> = entries.iter().map(|entry| Hash::of_leaf(entry)).collect();
        for level in 0.. {
            let tiles = Tile::all_at(Kind::Hashes(level), size);
            for (tile, chunk) in tiles.zip(hashes.chunks(256)) {
                files.insert(tile, chunk.iter().flat_map(|hash| *hash.as_bytes()).collect());
            }
            let full = hashes.chunks_exact(usize::try_from(TILE_WIDTH).unwrap());
            hashes = full.map(root_of).collect();
            if hashes.is_empty() {
                break;
            }
        }
        Self { files }
    }
}

impl Tiles for Memory {
    fn read(&self, tile: Tile) -> io::Result<Vec<u8>> {
        self.files.get(&tile).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn widths(&self, tile: Tile) -> Vec<u16> {
        (1..=256).filter(|width| self.files.contains_key(&Tile { width: *width, ..tile })).collect()
    }
}
