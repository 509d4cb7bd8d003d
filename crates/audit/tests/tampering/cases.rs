//! The cases: what is done to a log, and what verifying has to say of it.

use std::fs;

use tidegate_audit::note::{Note, SigningKey};
use tidegate_audit::tile::{Kind, Tile};
use tidegate_audit::verify::{Claim, Finding, Whose};

use crate::forger::{Forger, entry, key, replace, sign};

/// Something done to a log of [`crate::SIZE`] entries.
pub(crate) struct Case {
    /// What was done, as the table tells it.
    pub(crate) deed: &'static str,
    /// Where.
    pub(crate) place: String,
    /// Does it.
    pub(crate) tamper: Tamper,
    /// Whether a finding names it.
    pub(crate) named: Named,
}

type Tamper = Box<dyn Fn(&mut Forger, &mut Claim)>;
type Named = Box<dyn Fn(&Finding) -> bool>;

/// Every case.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    entries(&mut cases);
    bundles(&mut cases);
    tiles(&mut cases);
    files(&mut cases);
    forged(&mut cases);
    checkpoints(&mut cases);
    resigned(&mut cases);
    history(&mut cases);
    anchors(&mut cases);
    leftovers(&mut cases);
    pruning(&mut cases);
    cases
}

/// Entries at the beginning, the end and the borders of bundles.
const INDEXES: [u64; 16] =
    [0, 1, 2, 127, 128, 254, 255, 256, 257, 511, 512, 1023, 1024, 1279, 1280, 1499];

fn add(
    cases: &mut Vec<Case>,
    (deed, place): (&'static str, impl ToString),
    tamper: impl Fn(&mut Forger, &mut Claim) + 'static,
    named: impl Fn(&Finding) -> bool + 'static,
) {
    let (tamper, named) = (Box::new(tamper), Box::new(named));
    cases.push(Case { deed, place: place.to_string(), tamper, named });
}

fn entries(cases: &mut Vec<Case>) {
    for index in INDEXES {
        let position = usize::try_from(index % 256).unwrap();
        for byte in [0, 20] {
            add(
                cases,
                ("a bit of an entry flipped", format!("{index}, byte {byte}")),
                move |log, _| log.change_bundle(index, |e| e[position][byte] ^= 1),
                move |finding| *finding == Finding::EntryChanged { index },
            );
        }
        add(
            cases,
            ("an entry removed", index),
            move |log, _| log.change_bundle(index, |e| drop(e.remove(position))),
            move |f| matches!(f, Finding::EntriesRemoved { first, .. } if *first == index),
        );
        add(
            cases,
            ("an entry inserted", index),
            move |log, _| log.change_bundle(index, |e| e.insert(position, b"{}".to_vec())),
            move |f| matches!(f, Finding::EntriesInserted { first, .. } if *first == index),
        );
        let other = if index % 256 > 200 || index == 1499 { position - 3 } else { position + 3 };
        let first = index - index % 256 + position.min(other) as u64;
        add(
            cases,
            ("two entries exchanged", index),
            move |log, _| log.change_bundle(index, |e| e.swap(position, other)),
            move |f| matches!(f, Finding::EntriesReordered { first: at, .. } if *at == first),
        );
    }
    for index in [0, 300, 1400] {
        add(
            cases,
            ("an entry made another's copy", index),
            move |log, _| log.change_bundle(index, |e| e[5] = e[7].clone()),
            move |f| {
                *f == Finding::EntryChanged { index: index / 256 * 256 + 5 }
                    || matches!(f, Finding::EntriesReplaced { range } if range.contains(&index))
            },
        );
    }
}

fn bundles(cases: &mut Vec<Case>) {
    for index in [0, 256, 512, 768, 1024, 1280] {
        let names = move |f: &Finding| {
            let bundle = match f {
                Finding::Damaged { tile, .. } => *tile,
                Finding::EntriesRemoved { bundle, .. }
                | Finding::EntriesInserted { bundle, .. } => *bundle,
                _ => return false,
            };
            bundle.kind == Kind::Entries && bundle.index == index / 256
        };
        let at = move |log: &Forger| log.tile(Kind::Entries, index);
        for byte in [0, 1] {
            let tamper = move |log: &mut Forger, _: &mut Claim| {
                log.change(at(log), |bytes| bytes[byte] ^= 4);
            };
            add(cases, ("the length of an entry changed", index), tamper, names);
        }
        for cut in [1, 40, 5_000] {
            let tamper = move |log: &mut Forger, _: &mut Claim| {
                log.change(at(log), |bytes| bytes.truncate(bytes.len() - cut));
            };
            add(cases, ("a bundle cut", format!("{index}, {cut} bytes")), tamper, names);
        }
        let tamper = move |log: &mut Forger, _: &mut Claim| {
            log.change(at(log), |bytes| bytes.push(0));
        };
        add(cases, ("a bundle extended", index), tamper, names);
        let tamper = move |log: &mut Forger, _: &mut Claim| log.write(at(log), b"");
        add(cases, ("a bundle emptied", index), tamper, names);
    }
    for (one, other) in [(0, 1), (0, 4), (1, 2), (2, 3), (3, 4)] {
        add(
            cases,
            ("two bundles exchanged", format!("{one} and {other}")),
            move |log, _| {
                let [a, b] = [one, other].map(|n: u64| log.tile(Kind::Entries, n * 256));
                let (first, second) = (log.read(a), log.read(b));
                log.write(a, &second);
                log.write(b, &first);
            },
            move |f| {
                matches!(f, Finding::BundleSwapped { bundle, other: with }
                    if bundle.index == one && with.index == other)
            },
        );
    }
}

fn tiles(cases: &mut Vec<Case>) {
    let level_0 = [(0, 0), (0, 255), (2, 17), (4, 128), (5, 0), (5, 219)].map(|t| (0, t));
    let level_1 = [(0, 0), (0, 3), (0, 4)].map(|t| (1, t));
    for (level, (number, position)) in level_0.into_iter().chain(level_1) {
        let kind = Kind::Hashes(level);
        let at = move |log: &Forger| Tile::in_tree(kind, number, log.size()).unwrap();
        for bit in [0, 255] {
            add(
                cases,
                ("a bit of a tile flipped", format!("{level}/{number}, hash {position}")),
                move |log, _| {
                    log.change(at(log), |bytes| bytes[position * 32 + bit / 8] ^= 1);
                },
                move |f| {
                    matches!(f, Finding::TileChanged { tile, position: p }
                        if tile.kind == kind && tile.index == number && *p == position)
                },
            );
        }
    }
}

fn files(cases: &mut Vec<Case>) {
    for (kind, number) in [
        (Kind::Hashes(0), 0),
        (Kind::Hashes(0), 3),
        (Kind::Hashes(0), 5),
        (Kind::Hashes(1), 0),
        (Kind::Entries, 0),
        (Kind::Entries, 5),
    ] {
        let at = move |log: &Forger| Tile::in_tree(kind, number, log.size()).unwrap();
        let names = move |f: &Finding| match f {
            Finding::Missing { tile } | Finding::Damaged { tile, .. } => {
                tile.kind == kind && tile.index == number
            }
            _ => false,
        };
        let tamper = move |log: &mut Forger, _: &mut Claim| {
            fs::remove_file(log.file(at(log))).unwrap();
        };
        add(cases, ("a file removed", format!("{kind:?} {number}")), tamper, names);
        if kind == Kind::Entries {
            continue;
        }
        for by in [-32_isize, -1, 1, 32] {
            let tamper = move |log: &mut Forger, _: &mut Claim| {
                log.change(at(log), |b| b.resize(b.len().saturating_add_signed(by), 7));
            };
            let deed = if by < 0 { "a tile cut" } else { "a tile extended" };
            add(cases, (deed, format!("{kind:?} {number} by {by}")), tamper, names);
        }
    }
    for (one, other) in [(0, 1), (0, 4), (1, 2), (2, 3), (3, 4)] {
        add(
            cases,
            ("two tiles exchanged", format!("{one} and {other}")),
            move |log, _| {
                let [a, b] = [one, other].map(|n: u64| log.tile(Kind::Hashes(0), n * 256));
                let (first, second) = (log.read(a), log.read(b));
                log.write(a, &second);
                log.write(b, &first);
            },
            move |f| matches!(f, Finding::TileChanged { tile, .. } if tile.index == one),
        );
    }
}

/// Entries changed together with the tiles above them.
fn forged(cases: &mut Vec<Case>) {
    for index in INDEXES {
        let position = usize::try_from(index % 256).unwrap();
        let in_full = index < 1280;
        let fit = move |log: &mut Forger, levels: u8| {
            log.change_bundle(index, |entries| entries[position] = b"{}".to_vec());
            (0..levels).for_each(|level| log.refit(level, index));
        };
        add(
            cases,
            ("an entry changed and its tile made to fit", index),
            move |log, _| fit(log, 1),
            move |f| match f {
                Finding::EntriesReplaced { range } => in_full && range.contains(&index),
                Finding::Root { .. } => !in_full,
                _ => false,
            },
        );
        if in_full {
            add(
                cases,
                ("an entry changed and all tiles made to fit", index),
                move |log, _| fit(log, 2),
                |f| matches!(f, Finding::Root { .. }),
            );
        }
    }
    for (one, other) in [(0, 1), (1, 3), (2, 4)] {
        add(
            cases,
            ("two bundles exchanged with their tiles", format!("{one} and {other}")),
            move |log, _| {
                for kind in [Kind::Entries, Kind::Hashes(0)] {
                    let [a, b] = [one, other].map(|n: u64| log.tile(kind, n * 256));
                    let (first, second) = (log.read(a), log.read(b));
                    log.write(a, &second);
                    log.write(b, &first);
                }
            },
            move |f| matches!(f, Finding::EntriesReplaced { range } if range.contains(&(one * 256))),
        );
    }
}

fn checkpoints(cases: &mut Vec<Case>) {
    let whose = |f: &Finding| matches!(f, Finding::Checkpoint { whose: Whose::Log, .. });
    for position in [0, 10, 24, 26, 29, 31, 50, 70, 75, 80, 84, 110, 130, 160, 190] {
        let tamper = move |log: &mut Forger, _: &mut Claim| {
            let mut bytes = log.checkpoint();
            bytes[position] ^= 1;
            log.write_checkpoint(&bytes);
        };
        add(cases, ("a bit of the checkpoint flipped", position), tamper, whose);
    }
    for cut in [1, 2, 60, 150, 10_000] {
        let tamper = move |log: &mut Forger, _: &mut Claim| {
            let mut bytes = log.checkpoint();
            bytes.truncate(bytes.len().saturating_sub(cut));
            log.write_checkpoint(&bytes);
        };
        add(cases, ("the checkpoint cut", cut), tamper, whose);
    }
}

/// By somebody who has not the log's key.
fn resigned(cases: &mut Vec<Case>) {
    let whose = |f: &Finding| matches!(f, Finding::Checkpoint { whose: Whose::Log, .. });
    for index in [0, 700, 1499] {
        add(
            cases,
            ("entries changed and signed with another key", index),
            move |log, _| {
                let entries = with_changed(log, index);
                log.rewrite(entries, &key(99));
            },
            whose,
        );
        add(
            cases,
            ("a false signature in the key's name", index),
            move |log, _| {
                let entries = with_changed(log, index);
                log.rewrite(entries, &key(99));
                let text = String::from_utf8(log.checkpoint()).unwrap();
                let forged = Note::parse(text.as_bytes()).unwrap().signatures()[0].clone();
                let mut note =
                    Note::new(text.split("\n\n").next().unwrap().to_owned() + "\n").unwrap();
                let key_id = key(1).verifying_key().id();
                note.add(tidegate_audit::note::Signature { key_id, ..forged });
                log.write_checkpoint(note.to_string().as_bytes());
            },
            whose,
        );
    }
    add(
        cases,
        ("the checkpoint removed", ""),
        |log, claim| {
            fs::remove_file(log.path.join("checkpoint")).unwrap();
            claim.checkpoint = None;
        },
        |f| matches!(f, Finding::CheckpointMissing { whose: Whose::Log }),
    );
    let other = SigningKey::from_seed("edge-2.example.com/audit", [1; 32]).unwrap();
    add(
        cases,
        ("another log's checkpoint", ""),
        move |log, _| {
            let mut note = Note::new("edge-2.example.com/audit\n1500\nAAAA\n".to_owned()).unwrap();
            note.sign(&other);
            log.write_checkpoint(note.to_string().as_bytes());
        },
        whose,
    );
}

/// What only the head file or an earlier checkpoint can tell: the attacker has the log's key.
fn history(cases: &mut Vec<Case>) {
    let forked = |f: &Finding| matches!(f, Finding::Forked { .. });
    let rolled = |f: &Finding| matches!(f, Finding::RolledBack { .. });
    for index in INDEXES {
        add(
            cases,
            ("an entry changed, everything signed again", index),
            move |log, _| {
                let entries = with_changed(log, index);
                log.rewrite(entries, &key(1));
            },
            forked,
        );
    }
    for size in [0, 1, 255, 256, 257, 512, 1000, 1280, 1281, 1499] {
        add(
            cases,
            ("rolled back to an earlier size", size),
            move |log, _| log.rewrite((0..size).map(entry).collect(), &key(1)),
            rolled,
        );
        add(
            cases,
            ("rolled back and filled up with others", size),
            move |log, _| {
                let others = (size..1600).map(|n| entry(n + 10_000));
                log.rewrite((0..size).map(entry).chain(others).collect(), &key(1));
            },
            forked,
        );
    }
    for size in [700, 1280, 1499] {
        add(
            cases,
            ("only the checkpoint rolled back", size),
            move |log, _| {
                let earlier: Vec<_> = (0..size).map(entry).collect();
                log.write_checkpoint(sign(&earlier, &key(1)).to_string().as_bytes());
            },
            move |f| *f == Finding::Behind { head: 1500, size },
        );
    }
}

fn anchors(cases: &mut Vec<Case>) {
    let rolled = |f: &Finding| matches!(f, Finding::RolledBack { .. });
    for size in [1, 700, 1500] {
        let earlier = move |change: u64| {
            let entries: Vec<_> = (0..size).map(|n| entry(n + change)).collect();
            sign(&entries, &key(1)).to_string().into_bytes()
        };
        add(
            cases,
            ("another log than an anchor knows", size),
            move |_, claim| claim.earlier = vec![earlier(1)],
            move |f| *f == Finding::Forked { whose: Whose::Earlier, earlier: size },
        );
    }
    add(
        cases,
        ("fewer entries than an anchor knows", ""),
        |_, claim| {
            let entries: Vec<_> = (0..1501).map(entry).collect();
            claim.earlier = vec![sign(&entries, &key(1)).to_string().into_bytes()];
        },
        rolled,
    );
    let head = |f: &Finding| {
        matches!(
            f,
            Finding::Checkpoint { whose: Whose::Head, .. }
                | Finding::CheckpointMissing { whose: Whose::Head }
        )
    };
    let garbage = [None, Some(Vec::new()), Some(b"edge-1.example.com/audit\n".to_vec())];
    for (n, bytes) in garbage.into_iter().enumerate() {
        let tamper = move |_: &mut Forger, claim: &mut Claim| claim.head = Some(bytes.clone());
        add(cases, ("the head file removed or damaged", n), tamper, head);
    }
    let tamper = |log: &mut Forger, claim: &mut Claim| {
        claim.head = Some(Some(sign(&log.entries, &key(99)).to_string().into_bytes()));
    };
    add(cases, ("the head file signed with another key", ""), tamper, head);
}

/// Files of earlier sizes.
fn leftovers(cases: &mut Vec<Case>) {
    for (kind, width) in [(Kind::Entries, 7), (Kind::Entries, 219), (Kind::Hashes(0), 7)] {
        let stale = Tile { kind, index: 5, width };
        add(
            cases,
            ("an earlier partial file changed", stale.path()),
            move |log, _| {
                let bytes = log.read(Tile { width: 220, ..stale });
                let mut part = match kind {
                    Kind::Entries => bytes
                        [..usize::from(width) * entry(1280).len() + usize::from(width) * 2]
                        .to_vec(),
                    Kind::Hashes(_) => bytes[..usize::from(width) * 32].to_vec(),
                };
                part[40] ^= 1;
                log.write(stale, &part);
            },
            move |f| match f {
                Finding::EntryChanged { index } => kind == Kind::Entries && *index == 1280,
                Finding::TileChanged { tile, .. } => *tile == stale,
                _ => false,
            },
        );
    }
}

/// What says where the log begins.
fn pruning(cases: &mut Vec<Case>) {
    for index in [255, 256, 1023] {
        let pruned = index / 256 * 256 + 256;
        let remove = move |log: &Forger| {
            for kind in [Kind::Entries, Kind::Hashes(0)] {
                for number in 0..=index / 256 {
                    fs::remove_file(log.file(log.tile(kind, number * 256))).unwrap();
                }
            }
        };
        add(
            cases,
            ("entries pruned without saying so", index),
            move |log, _| remove(log),
            |f| matches!(f, Finding::Missing { tile } if tile.index == 0),
        );
        add(
            cases,
            ("entries pruned that had to be kept", index),
            move |log, claim| {
                remove(log);
                replace(&log.path.join("minimum"), format!("{pruned}\n").as_bytes());
                claim.kept = Some(0);
            },
            move |f| *f == Finding::Pruned { minimum: pruned, kept: 0 },
        );
        add(
            cases,
            ("more pruned than said", index),
            move |log, _| {
                remove(log);
                replace(&log.path.join("minimum"), format!("{}\n", pruned - 256).as_bytes());
            },
            move |f| matches!(f, Finding::Missing { tile } if tile.index == index / 256),
        );
    }
    for wrong in ["", "x\n", "-1\n", "0256\n", "1501\n", "18446744073709551616\n"] {
        let tamper = move |log: &mut Forger, _: &mut Claim| {
            replace(&log.path.join("minimum"), wrong.as_bytes());
        };
        let named = |f: &Finding| matches!(f, Finding::Minimum { .. });
        add(cases, ("a false minimum index", format!("{wrong:?}")), tamper, named);
    }
}

fn with_changed(log: &Forger, index: u64) -> Vec<Vec<u8>> {
    let mut entries = log.entries.clone();
    entries[usize::try_from(index).unwrap()] = b"{\"v\":1}".to_vec();
    entries
}
