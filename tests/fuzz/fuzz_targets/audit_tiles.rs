//! Any bytes as a path, a bundle and a tile; and any bytes in the place of one file of a real log,
//! which verifying always notices.

#![no_main]

use std::collections::HashMap;
use std::io;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tidegate_audit::bundle::{self, Entries};
use tidegate_audit::checkpoint::Checkpoint;
use tidegate_audit::hash::Hash;
use tidegate_audit::note::SigningKey;
use tidegate_audit::tile::{Kind, Tile};
use tidegate_audit::tiles::{Tiles, parse_hashes};
use tidegate_audit::tree::root_of;
use tidegate_audit::verify::{Claim, verify};

const SIZE: u64 = 530;

struct Log {
    files: HashMap<Tile, Vec<u8>>,
    order: Vec<Tile>,
    checkpoint: Vec<u8>,
}

static KEY: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::from_seed("fuzz/audit", [1; 32]).expect("the name is one"));

static LOG: LazyLock<Log> = LazyLock::new(|| {
    let entries: Vec<_> = (0..SIZE).map(|n| n.to_string().into_bytes()).collect();
    let mut files = HashMap::new();
    for (tile, chunk) in Tile::all_at(Kind::Entries, SIZE).zip(entries.chunks(256)) {
        let mut bytes = Vec::new();
        chunk.iter().for_each(|entry| bundle::push(&mut bytes, entry).expect("it is short"));
        files.insert(tile, bytes);
    }
    let leaves: Vec<_> = entries.iter().map(|entry| Hash::of_leaf(entry)).collect();
    let bytes = |hashes: &[Hash]| hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
    for (tile, chunk) in Tile::all_at(Kind::Hashes(0), SIZE).zip(leaves.chunks(256)) {
        files.insert(tile, bytes(chunk));
    }
    let above: Vec<_> = leaves.chunks_exact(256).map(root_of).collect();
    files.insert(Tile { kind: Kind::Hashes(1), index: 0, width: 2 }, bytes(&above));
    let checkpoint =
        Checkpoint { origin: "fuzz/audit".to_owned(), size: SIZE, root: root_of(&leaves) };
    let checkpoint = checkpoint.sign(&KEY).expect("the key has the origin's name").to_string();
    let mut order: Vec<_> = files.keys().copied().collect();
    order.sort();
    Log { files, order, checkpoint: checkpoint.into_bytes() }
});

/// The log with other bytes in the place of one file.
struct Changed<'a> {
    tile: Tile,
    bytes: &'a [u8],
}

impl Tiles for Changed<'_> {
    fn read(&self, tile: Tile) -> io::Result<Vec<u8>> {
        let stored = LOG.files.get(&tile).map(Vec::as_slice);
        let found = if tile == self.tile { Some(self.bytes) } else { stored };
        found.map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fuzz_target!(|input: &[u8]| {
    if let Some(tile) = std::str::from_utf8(input).ok().and_then(Tile::from_path) {
        assert_eq!(tile.path().as_bytes(), input);
    }
    let read: Result<Vec<_>, _> = Entries::new(input).collect();
    if let Ok(entries) = read {
        let mut again = Vec::new();
        entries.iter().for_each(|entry| bundle::push(&mut again, entry).expect("it was one"));
        assert_eq!(again, input);
    }
    let Some((&choice, bytes)) = input.split_first() else { return };
    let width = u16::from(choice) + 1;
    let tile = Tile { kind: Kind::Hashes(0), index: 0, width };
    assert_eq!(parse_hashes(bytes, tile).is_ok(), bytes.len() == usize::from(width) * Hash::LEN);

    let tile = LOG.order[usize::from(choice) % LOG.order.len()];
    let checkpoint = Some(LOG.checkpoint.clone());
    let claim = Claim { checkpoint, ..Claim::default() };
    let changed = Changed { tile, bytes };
    let report = verify(&changed, KEY.verifying_key(), &claim, &mut |_, _| ());
    assert_eq!(report.holds(), LOG.files[&tile] == bytes, "{:?}", report.findings);
});
