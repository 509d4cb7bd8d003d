//! Where tiles are read from. A log is read as it stands, running or stopped: nothing here writes
//! or locks.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use thiserror::Error;

use crate::bundle;
use crate::hash::Hash;
use crate::tile::{Kind, TILE_WIDTH, Tile};

/// What tiles can be read from: a directory, or a log that serves them.
pub trait Tiles {
    /// The bytes of exactly this tile or bundle.
    ///
    /// # Errors
    /// `NotFound` when there is none, or what reading gave.
    fn read(&self, tile: Tile) -> io::Result<Vec<u8>>;

    /// The widths in which this tile is there, or may be where the source cannot list.
    fn widths(&self, tile: Tile) -> Vec<u16> {
        if tile.is_full() { vec![tile.width] } else { vec![tile.width, tile.full().width] }
    }
}

/// A log's directory.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
}

/// Why a tile could not be used.
#[derive(Debug, Error)]
pub enum TileError {
    /// There is none.
    #[error("{tile} is missing")]
    Missing {
        /// The tile.
        tile: Tile,
    },
    /// Its bytes are not those of so many hashes or entries.
    #[error("{tile}: {why}")]
    Shape {
        /// The tile.
        tile: Tile,
        /// What is wrong with it.
        why: String,
    },
    /// It cannot be read.
    #[error("{tile}: {source}")]
    Read {
        /// The tile.
        tile: Tile,
        /// What the system says.
        source: io::Error,
    },
}

impl Directory {
    /// The log below `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Tiles for Directory {
    fn read(&self, tile: Tile) -> io::Result<Vec<u8>> {
        std::fs::read(self.path.join(tile.path()))
    }

    fn widths(&self, tile: Tile) -> Vec<u16> {
        let mut widths = vec![tile.width, tile.full().width];
        let folder = std::fs::read_dir(self.path.join(format!("{}.p", tile.full())));
        for entry in folder.into_iter().flatten().flatten() {
            widths.extend(entry.file_name().to_str().and_then(|name| name.parse::<u16>().ok()));
        }
        widths.retain(|width| (1..=TILE_WIDTH).contains(&u64::from(*width)));
        widths.sort_unstable();
        widths.dedup();
        widths
    }
}

/// The hashes of a tile, from whatever width of it is there.
///
/// # Errors
/// When there is none, or the first that is there is not of hashes.
pub fn hashes(tiles: &dyn Tiles, tile: Tile) -> Result<Vec<Hash>, TileError> {
    read_any(tiles, tile, parse_hashes)
}

/// The entries of a bundle, from whatever width of it is there.
///
/// # Errors
/// When there is none, or the first that is there is not of entries.
pub fn entries(tiles: &dyn Tiles, bundle: Tile) -> Result<Vec<Vec<u8>>, TileError> {
    read_any(tiles, bundle, |bytes, stored| {
        let entries = bundle::entries(bytes, usize::from(stored.width));
        let entries = entries.map_err(|why| shape(stored, &why))?;
        Ok(entries.into_iter().map(<[u8]>::to_vec).collect())
    })
}

/// One entry by its index, in a log of `size` entries.
///
/// # Errors
/// When its bundle is missing or damaged, or the index is beyond.
pub fn entry(tiles: &dyn Tiles, index: u64, size: u64) -> Result<Vec<u8>, TileError> {
    let number = index / TILE_WIDTH;
    let beyond = Tile { kind: Kind::Entries, index: number, width: 256 };
    let missing = TileError::Missing { tile: beyond };
    let bundle = Tile::in_tree(Kind::Entries, number, size).filter(|_| index < size);
    let Some(bundle) = bundle else { return Err(missing) };
    let position = usize::try_from(index % TILE_WIDTH).unwrap_or_default();
    entries(tiles, bundle)?.into_iter().nth(position).ok_or(missing)
}

/// The hashes in the bytes of a tile.
///
/// # Errors
/// When there are not as many as the tile is wide.
pub fn parse_hashes(bytes: &[u8], tile: Tile) -> Result<Vec<Hash>, TileError> {
    let (chunks, rest) = bytes.as_chunks::<{ Hash::LEN }>();
    if chunks.len() != usize::from(tile.width) || !rest.is_empty() {
        let expected = usize::from(tile.width) * Hash::LEN;
        let why = format!("it has {} bytes, not {expected}", bytes.len());
        return Err(TileError::Shape { tile, why });
    }
    Ok(chunks.iter().map(|chunk| Hash::from_bytes(*chunk)).collect())
}

fn read_any<T>(
    tiles: &dyn Tiles,
    tile: Tile,
    parse: impl Fn(&[u8], Tile) -> Result<Vec<T>, TileError>,
) -> Result<Vec<T>, TileError> {
    // A running log replaces its partial tiles by wider ones: between listing and reading, too.
    for _ in 0..3 {
        for width in tiles.widths(tile).into_iter().filter(|width| *width >= tile.width) {
            let stored = Tile { width, ..tile };
            match tiles.read(stored) {
                Ok(bytes) => {
                    let mut parsed = parse(&bytes, stored)?;
                    parsed.truncate(usize::from(tile.width));
                    return Ok(parsed);
                }
                Err(missing) if missing.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(TileError::Read { tile: stored, source }),
            }
        }
    }
    Err(TileError::Missing { tile })
}

fn shape(tile: Tile, why: &dyn std::error::Error) -> TileError {
    TileError::Shape { tile, why: why.to_string() }
}

/// Remembers the tiles of hashes that were read, for whoever makes many proofs.
#[expect(missing_debug_implementations, reason = "it holds a reference to any source of tiles")]
pub struct Cached<'a> {
    tiles: &'a dyn Tiles,
    read: Mutex<HashMap<Tile, Vec<Hash>>>,
}

impl<'a> Cached<'a> {
    /// Nothing read yet.
    #[must_use]
    pub fn new(tiles: &'a dyn Tiles) -> Self {
        Self { tiles, read: Mutex::default() }
    }

    /// The hashes of a tile.
    ///
    /// # Errors
    /// As [`hashes`].
    pub fn hashes(&self, tile: Tile) -> Result<Vec<Hash>, TileError> {
        let known = self.read.lock().get(&tile).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let found = hashes(self.tiles, tile)?;
        self.read.lock().insert(tile, found.clone());
        Ok(found)
    }
}
