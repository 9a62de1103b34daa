//! The proofs of the core: what the machine may do, walked through at random and exhaustively.

#![allow(unreachable_pub, reason = "one binary: its modules share everything")]

mod clock;
mod model;
mod pair;
mod property;
mod retention;
mod sabotage;
mod scars;
mod script;
mod transitions;
mod world;
