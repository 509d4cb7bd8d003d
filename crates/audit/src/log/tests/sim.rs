//! A file system that can lose power. What is written is seen at once and durable only when it is
//! synced; a loss of power keeps some of the rest: files by sectors, directories by their first
//! few changes. Any operation can be the last, or fail; a failed sync forgets what it had to
//! write and calls the next one a success, as Linux does.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use super::super::disk::{Disk, Growing};

/// What a loss of power may tear apart.
const SECTOR: usize = 512;

/// The file system; clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Sim(Arc<Mutex<World>>);

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Plan {
    /// The operation with this number, from 1, is the last; a write is done in part.
    pub(super) dies_at: Option<u64>,
    /// The operation with this number fails in this way.
    pub(super) fails_at: Option<(u64, ErrorKind)>,
    /// How much of a write is done that dies or fails, in 256ths.
    pub(super) part: usize,
    /// How many bytes the files may have together.
    pub(super) capacity: Option<usize>,
}

/// What a crash leaves of what was not synced.
#[derive(Clone, Copy, Debug)]
pub(super) enum Crash {
    /// All: only the process ended.
    Process,
    /// All, and it is durable.
    KeepsAll,
    /// None.
    KeepsNothing,
    /// Some, by a seed.
    KeepsSome(u64),
}

#[derive(Debug, Default)]
struct World {
    nodes: HashMap<u64, Node>,
    next: u64,
    operations: u64,
    plan: Plan,
    dead: bool,
}

#[derive(Clone, Debug)]
enum Node {
    File { seen: Vec<u8>, durable: Vec<u8>, pending: Vec<Change> },
    Dir { seen: Names, durable: Names, pending: Vec<Vec<(String, Option<u64>)>> },
}

type Names = BTreeMap<String, u64>;

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Cut(usize),
}

impl Sim {
    pub(super) fn new(plan: Plan) -> Self {
        let mut world = World { plan, ..World::default() };
        world.add(Node::dir());
        Self(Arc::new(Mutex::new(world)))
    }

    pub(super) fn as_disk(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    /// How many operations there were.
    pub(super) fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// What goes wrong from now on; operations are counted from 1 again.
    pub(super) fn plan(&self, plan: Plan) {
        let mut world = self.0.lock();
        world.operations = 0;
        world.plan = plan;
    }

    /// Every file as it is seen, whatever its path.
    pub(super) fn contents(&self) -> Vec<Vec<u8>> {
        let world = self.0.lock();
        let files = world.nodes.values().filter_map(|node| match node {
            Node::File { seen, .. } => Some(seen.clone()),
            Node::Dir { .. } => None,
        });
        files.collect()
    }

    /// The file system after a crash, with nothing planned.
    pub(super) fn crashed(&self, crash: Crash) -> Self {
        let world = self.0.lock();
        let mut nodes = world.nodes.clone();
        let mut dice = Dice(if let Crash::KeepsSome(seed) = crash { seed } else { 0 });
        let mut order: Vec<_> = nodes.keys().copied().collect();
        order.sort_unstable();
        for id in order {
            if let Some(node) = nodes.get_mut(&id) {
                node.crash(crash, &mut dice);
            }
        }
        let after = World { nodes, next: world.next, ..World::default() };
        Self(Arc::new(Mutex::new(after)))
    }
}

impl Node {
    fn dir() -> Self {
        Self::Dir { seen: Names::new(), durable: Names::new(), pending: Vec::new() }
    }

    fn crash(&mut self, crash: Crash, dice: &mut Dice) {
        if matches!(crash, Crash::Process) {
            return;
        }
        match self {
            Self::File { seen, durable, pending } => {
                for change in pending.drain(..) {
                    match crash {
                        Crash::KeepsAll | Crash::Process => change.apply(durable),
                        Crash::KeepsNothing => {}
                        Crash::KeepsSome(_) => change.apply_some(durable, dice),
                    }
                }
                seen.clone_from(durable);
            }
            Self::Dir { seen, durable, pending } => {
                let keep = match crash {
                    Crash::KeepsAll | Crash::Process => pending.len(),
                    Crash::KeepsNothing => 0,
                    Crash::KeepsSome(_) => dice.below(pending.len() + 1),
                };
                for change in pending.drain(..).take(keep) {
                    rename_all(durable, change);
                }
                seen.clone_from(durable);
            }
        }
    }
}

impl Change {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Self::Write(offset, bytes) => {
                if file.len() < offset + bytes.len() {
                    file.resize(offset + bytes.len(), 0);
                }
                file[*offset..offset + bytes.len()].copy_from_slice(bytes);
            }
            Self::Cut(length) => file.resize(*length, 0),
        }
    }

    fn apply_some(&self, file: &mut Vec<u8>, dice: &mut Dice) {
        match (self, dice.below(4)) {
            (_, 0) => {}
            (change, 1) => change.apply(file),
            (Self::Cut(_), _) => self.apply(file),
            (Self::Write(offset, bytes), _) => {
                let mut at = *offset;
                for sector in bytes.chunks(SECTOR) {
                    if dice.below(2) == 0 {
                        Self::Write(at, sector.to_vec()).apply(file);
                    }
                    at += sector.len();
                }
            }
        }
    }
}

fn rename_all(names: &mut Names, change: Vec<(String, Option<u64>)>) {
    for (name, id) in change {
        match id {
            Some(id) => names.insert(name, id),
            None => names.remove(&name),
        };
    }
}

impl World {
    fn add(&mut self, node: Node) -> u64 {
        let id = self.next;
        self.next += 1;
        self.nodes.insert(id, node);
        id
    }

    /// Counts an operation that changes something; an error is how it ends.
    fn operate(&mut self) -> io::Result<()> {
        self.alive()?;
        self.operations += 1;
        if self.plan.dies_at == Some(self.operations) {
            self.dead = true;
        }
        match self.plan.fails_at {
            Some((at, kind)) if at == self.operations => Err(kind.into()),
            _ => self.alive(),
        }
    }

    fn alive(&self) -> io::Result<()> {
        if self.dead { Err(io::Error::other("the machine is off")) } else { Ok(()) }
    }

    fn find(&self, path: &Path) -> io::Result<u64> {
        self.alive()?;
        let mut id = 0;
        for part in path.iter().skip(1) {
            let Some(Node::Dir { seen, .. }) = self.nodes.get(&id) else {
                return Err(ErrorKind::NotADirectory.into());
            };
            id = *seen.get(text(part)).ok_or(ErrorKind::NotFound)?;
        }
        Ok(id)
    }

    /// Changes names in the directory of `path`, in one step.
    fn rename_in(&mut self, dir: &Path, change: Vec<(String, Option<u64>)>) -> io::Result<()> {
        let id = self.find(dir)?;
        let Some(Node::Dir { seen, pending, .. }) = self.nodes.get_mut(&id) else {
            return Err(ErrorKind::NotADirectory.into());
        };
        rename_all(seen, change.clone());
        pending.push(change);
        Ok(())
    }

    fn write(&mut self, id: u64, bytes: &[u8]) -> io::Result<()> {
        let mut outcome = self.operate();
        let mut bytes = if outcome.is_ok() {
            bytes
        } else {
            &bytes[..bytes.len() * self.plan.part.min(256) / 256]
        };
        let used: usize = self.nodes.values().map(Node::len).sum();
        let room = self.plan.capacity.map_or(usize::MAX, |capacity| capacity.saturating_sub(used));
        if bytes.len() > room {
            bytes = &bytes[..room];
            outcome = Err(ErrorKind::StorageFull.into());
        }
        if let Some(Node::File { seen, pending, .. }) = self.nodes.get_mut(&id) {
            let change = Change::Write(seen.len(), bytes.to_vec());
            change.apply(seen);
            pending.push(change);
        }
        outcome
    }

    fn cut(&mut self, id: u64, length: usize) -> io::Result<()> {
        self.operate()?;
        if let Some(Node::File { seen, pending, .. }) = self.nodes.get_mut(&id) {
            seen.resize(length, 0);
            pending.push(Change::Cut(length));
        }
        Ok(())
    }

    fn sync(&mut self, id: u64) -> io::Result<()> {
        let outcome = self.operate();
        if self.dead {
            return outcome;
        }
        match self.nodes.get_mut(&id) {
            Some(Node::File { durable, pending, .. }) => {
                let lost = outcome.is_err();
                pending.drain(..).filter(|_change| !lost).for_each(|c| c.apply(durable));
            }
            Some(Node::Dir { durable, pending, .. }) if outcome.is_ok() => {
                pending.drain(..).for_each(|change| rename_all(durable, change));
            }
            Some(Node::Dir { .. }) | None => {}
        }
        outcome
    }
}

impl Node {
    fn len(&self) -> usize {
        match self {
            Self::File { seen, .. } => seen.len(),
            Self::Dir { .. } => 0,
        }
    }
}

impl Disk for Sim {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Growing>> {
        let mut world = self.0.lock();
        world.operate()?;
        let id = match world.find(path) {
            Ok(id) => {
                if let Some(Node::File { seen, pending, .. }) = world.nodes.get_mut(&id) {
                    seen.clear();
                    pending.push(Change::Cut(0));
                }
                id
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let file =
                    Node::File { seen: Vec::new(), durable: Vec::new(), pending: Vec::new() };
                let id = world.add(file);
                world.rename_in(parent(path), vec![(name(path), Some(id))])?;
                id
            }
            Err(error) => return Err(error),
        };
        Ok(Box::new(Open { sim: self.clone(), id }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let world = self.0.lock();
        match world.nodes.get(&world.find(path)?) {
            Some(Node::File { seen, .. }) => Ok(seen.clone()),
            _ => Err(ErrorKind::IsADirectory.into()),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let world = self.0.lock();
        match world.nodes.get(&world.find(dir)?) {
            Some(Node::Dir { seen, .. }) => Ok(seen.keys().cloned().collect()),
            _ => Err(ErrorKind::NotADirectory.into()),
        }
    }

    fn facts(&self, path: &Path) -> io::Result<(u64, SystemTime)> {
        Ok((number(self.read(path)?.len()), SystemTime::UNIX_EPOCH))
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        let mut world = self.0.lock();
        world.operate()?;
        if path.parent().is_none() || world.find(path).is_ok() {
            return Ok(());
        }
        world.find(parent(path))?;
        let id = world.add(Node::dir());
        world.rename_in(parent(path), vec![(name(path), Some(id))])
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.0.lock();
        world.operate()?;
        let id = world.find(from)?;
        world.find(parent(to))?;
        if parent(from) == parent(to) {
            return world.rename_in(parent(to), vec![(name(to), Some(id)), (name(from), None)]);
        }
        // Worse than any file system of today: the two directories may part.
        world.rename_in(parent(to), vec![(name(to), Some(id))])?;
        world.rename_in(parent(from), vec![(name(from), None)])
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.0.lock();
        world.operate()?;
        world.find(path)?;
        world.rename_in(parent(path), vec![(name(path), None)])
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        // As a whole: what is in it is not reached any more.
        self.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.0.lock();
        let id = world.find(dir)?;
        world.sync(id)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        self.create(path)?;
        Ok(Box::new(()))
    }
}

#[derive(Debug)]
struct Open {
    sim: Sim,
    id: u64,
}

impl Growing for Open {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sim.0.lock().write(self.id, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sim.0.lock().sync(self.id)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.sim.0.lock().cut(self.id, place(length))
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap()
}

fn name(path: &Path) -> String {
    text(path.file_name().unwrap()).to_owned()
}

fn text(name: &OsStr) -> &str {
    name.to_str().unwrap()
}

fn number(place: usize) -> u64 {
    u64::try_from(place).unwrap()
}

fn place(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

/// Numbers by a seed (splitmix64).
#[derive(Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// A number from 0 to `end`, without it.
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % u64::try_from(end).unwrap()).unwrap()
    }
}
