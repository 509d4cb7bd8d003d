//! For tests: origins, clients, ports and the running binary.
