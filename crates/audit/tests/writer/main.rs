//! The writer as a process of its own: killed under load, with system calls that fail, and on a
//! file system that is full. What the process said was durable is looked for afterwards, and each
//! checkpoint that it showed is compared with the tree that is there.
//!
//! A test starts itself again as that process, under a variable of the environment.

#[cfg(test)]
mod child;
#[cfg(test)]
mod full;
#[cfg(test)]
mod injected;
#[cfg(test)]
mod killed;
#[cfg(test)]
mod ledger;
